/** While a registry fails, clients with empty caches pull an image of two platforms, and containerd pushes the image to that registry. */
import { mkdtemp, rm } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PodKind } from "../../src/local/pods/start-pods.ts";
import type { Fault } from "../../src/local/taps/faults.ts";
import { createClient, manifestTypes } from "../support/client.ts";
import { endFault } from "../support/toy-stack.ts";
import { craneIn } from "./crane.ts";
import { ctrIn } from "./ctr.ts";
import { type Docker, dockerIn } from "./docker.ts";
import { makeMultiArchImage } from "./images.ts";
import { skopeoIn } from "./skopeo.ts";
import { openStage, type Stage } from "./stage.ts";
import { describeWith, needs } from "./tools.ts";

const repository = "acme/team/app";
const kinds = [
  ["toy", ["skopeo"]],
  ["distribution-v3", [...needs.distributionPods, "skopeo"]],
] as const satisfies readonly (readonly [PodKind, readonly string[]])[];
const faults: readonly (readonly [string, Fault])[] = [
  ["refuses connections", { mode: "refuse" }],
  ["breaks off each answer", { mode: "reset" }],
  ["answers 503", { mode: "status", status: 503 }],
];

describe.each(kinds)("private image on %s Pods", (kind, tools) => {
  describeWith(tools, "that was pulled before", () => {
    let stage: Stage;
    const image = () => `${stage.host}/${repository}:1`;

    beforeAll(async () => {
      stage = await openStage(kind);
      await makeMultiArchImage(`${stage.dir}/image`, 50_000);
      const login = ["--all", "--dest-creds", "demo:demo"];
      await skopeoIn(stage.dir)("copy", ...login, `oci:${stage.dir}/image:image`, `docker://${image()}`);
      await pullBySkopeo();
    });
    afterAll(() => stage?.close());

    async function pullBySkopeo(): Promise<void> {
      const dir = await mkdtemp(`${stage.dir}/pulled-`);
      await skopeoIn(stage.dir)("copy", "--all", "--src-creds", "demo:demo", `docker://${image()}`, `oci:${dir}:image`);
      await rm(dir, { recursive: true });
    }

    async function during<T>(fault: Fault, work: () => Promise<T>): Promise<T> {
      await stage.stack.edgeSettled();
      stage.stack.clearSeen();
      await stage.stack.setFault("pod-a", "registry", fault);
      try {
        return await work();
      } finally {
        await endFault(stage.stack, "pod-a");
      }
    }

    describe.each(faults)("while the registry %s", (_, fault) => {
      it("skopeo pulls it", async () => {
        await during(fault, pullBySkopeo);
      });

      describeWith(["crane"], "by crane", () => {
        it("it is pulled", async () => {
          const crane = craneIn(stage.dir);
          await crane("auth", "login", stage.host, "-u", "demo", "-p", "demo");
          await during(fault, async () => void (await crane("pull", image(), `${stage.dir}/crane.tar`)));
        });
      });

      describeWith(needs.dockerd, "by dockerd", () => {
        let docker: Docker;
        beforeAll(async () => {
          docker = await dockerIn(stage.dir);
          await docker("login", "-u", "demo", "-p", "demo", stage.host);
        });
        afterAll(() => docker?.stop());

        it("it is pulled, also by its digest", async () => {
          await during(fault, async () => {
            expect(await docker("pull", image())).toContain("Downloaded newer image");
            const digest = await docker("image", "inspect", "--format", "{{index .RepoDigests 0}}", image());
            await docker("image", "rm", image());
            expect(await docker("pull", digest.trim())).toContain("Downloaded newer image");
            await docker("image", "rm", digest.trim());
          });
        });

        describeWith(["ctr"], "by containerd, which does not push what its HEADs find", () => {
          it("a push of it succeeds only if the registry has answered the HEADs", async () => {
            const ctr = ctrIn(docker, stage.host, "containerd 2");
            await ctr.pull(`${repository}:1`);
            await during(fault, async () => {
              const { code } = await ctr.attemptPush(image(), `${repository}:1`);
              expect(code === 0).toBe(fault.mode === "reset");
            });
          });
        });
      });
    });
  });
});

/** If a client's `Accept` lacks the type of a docker list, docker-registry 2.8 answers with one image of the list. */
describeWith(needs.skopeo, "docker list on a docker-registry Pod", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await openStage("registry");
    await makeMultiArchImage(`${stage.dir}/image`, 50_000);
    const login = ["--all", "--format", "v2s2", "--dest-creds", "demo:demo"];
    await skopeoIn(stage.dir)(
      "copy",
      ...login,
      `oci:${stage.dir}/image:image`,
      `docker://${stage.host}/${repository}:1`,
    );
  });
  afterAll(() => stage?.close());

  it("a reader whose Accept has U+FEFF before the list's type does not change what the others pull", async () => {
    const client = createClient(stage.stack.edge);
    const token = await client.token([`repository:${repository}:pull`]);
    const path = `/v2/${repository}/manifests/1`;
    const listType = manifestTypes.split(", ").at(-1) ?? "";
    const digestOf = (answer: Response) => answer.headers.get("Docker-Content-Digest");
    const list = digestOf(await client.get(path, token));
    // `fetch` sends each character of a header as one byte, so these three are U+FEFF in UTF-8.
    const odd = { Accept: manifestTypes.replace(listType, `\u00ef\u00bb\u00bf${listType}`) };
    const converted = digestOf(await client.get(path, token, { headers: odd }));
    expect([list, converted, list === converted]).toEqual([expect.any(String), expect.any(String), false]);
    for (let time = 0; time < 2; time += 1) {
      for (const digest of [list, converted]) await client.get(`/v2/${repository}/manifests/${digest}`, token);
      await stage.stack.edgeSettled();
    }
    await client.get(path, token, { headers: odd });
    await stage.stack.edgeSettled();
    await stage.stack.setFault("pod-a", "registry", { mode: "refuse" });
    const stale = await client.get(path, token);
    await endFault(stage.stack, "pod-a");
    expect([stale.status, stale.headers.has("Warning"), digestOf(stale)]).toEqual([200, true, list]);
  });
});
