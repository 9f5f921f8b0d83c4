import { rm } from "node:fs/promises";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { PodKind } from "../../src/local/pods/start-pods.ts";
import { createClient } from "../support/client.ts";
import { craneIn } from "./crane.ts";
import { dockerIn } from "./docker.ts";
import { makeImage } from "./images.ts";
import { skopeoIn } from "./skopeo.ts";
import { openStage, type Stage } from "./stage.ts";
import { expectPodsApart } from "./taps.ts";
import { describeWith, needs } from "./tools.ts";

const repository = "acme/public/ten";
const layers = 10;
const kinds = [
  ["toy", ["skopeo"]],
  ["registry", needs.skopeo],
  ["distribution-v3", [...needs.distributionPods, "skopeo"]],
] as const satisfies readonly (readonly [PodKind, readonly string[]])[];

describe.each(kinds)("warm pull of an image of 10 layers on %s Pods", (kind, tools) => {
  describeWith(tools, "pushed through the edge", () => {
    let stage: Stage;
    const image = () => `${stage.host}/${repository}:1`;

    beforeAll(async () => {
      stage = await openStage(kind);
      await makeImage(`${stage.dir}/ten`, Array(layers).fill(50_000));
      const login = ["--dest-creds", "demo:demo"];
      await skopeoIn(stage.dir)("copy", ...login, `oci:${stage.dir}/ten:image`, `docker://${image()}`);
    });
    // Each client begins with a new edge, which has no proof yet.
    beforeEach(async () => {
      await stage.stack.restartEdge();
      stage.stack.clearSeen();
    });
    afterAll(() => stage?.close());

    it("one manifest proves all its blobs, and the registry gets no request for a blob", async () => {
      const client = createClient(stage.stack.edge);
      const token = await client.token([`repository:${repository}:pull`], null);
      const manifest = await client.get(`/v2/${repository}/manifests/1`, token);
      const { config, layers } = (await manifest.json()) as {
        config: { digest: string };
        layers: { digest: string }[];
      };
      for (const { digest } of [config, ...layers]) {
        expect((await client.get(`/v2/${repository}/blobs/${digest}`, token)).status).toBe(307);
      }
      expect(stage.stack.seen("pod-a", "registry").map(({ method }) => method)).toEqual(["GET"]);
    });

    it("the registry gets only requests for manifests when skopeo pulls", async () => {
      await expectManifestsOnly(async () => {
        await skopeoIn(stage.dir)("copy", `docker://${image()}`, `oci:${stage.dir}/skopeo:image`);
        await rm(`${stage.dir}/skopeo`, { recursive: true });
      });
    });

    describeWith(["crane"], "by crane", () => {
      it("the registry gets only requests for manifests", async () => {
        const crane = craneIn(stage.dir);
        await expectManifestsOnly(async () => void (await crane("pull", image(), `${stage.dir}/crane.tar`)));
      });
    });

    describeWith(needs.dockerd, "by dockerd", () => {
      it("the registry gets only requests for manifests", async () => {
        const docker = await dockerIn(stage.dir);
        try {
          await expectManifestsOnly(async () => {
            await docker("pull", image());
            await docker("image", "rm", image());
          });
        } finally {
          await docker.stop();
        }
      });
    });

    /**
     * Pulls twice, each time as a client that has nothing in its caches. The registry may get only requests for manifests, and in the second pull
     * only for the tag.
     */
    async function expectManifestsOnly(pull: () => Promise<void>): Promise<void> {
      for (let pulls = 0; pulls < 2; pulls += 1) {
        stage.stack.clearSeen();
        await pull();
        await expectPodsApart(stage.stack);
        const records = stage.stack.edgeSeen();
        const lineOf = ({ method, path }: { method: string; path: string }) => `${method} ${path}`;
        const asked = records.filter(({ endpoint }) => endpoint === "manifest");
        const forwarded = asked.filter(({ outcome }) => outcome !== "kept").map(lineOf);
        expect(forwarded).not.toEqual([]);
        expect(stage.stack.seen("pod-a", "registry").map(lineOf)).toEqual(forwarded);
        const ofTag = asked.map(lineOf).filter((line) => line.endsWith("/manifests/1"));
        if (pulls > 0) expect(forwarded).toEqual(ofTag);
        const redirects = records.filter(({ endpoint }) => endpoint === "blob");
        // The image has its layers and a config.
        expect(redirects.map(({ proof }) => proof)).toEqual(Array(layers + 1).fill("manifest"));
      }
    }
  });
});
