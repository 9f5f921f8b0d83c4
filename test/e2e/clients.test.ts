import { mkdir } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { LocalPodId, PodKind } from "../../src/local/pods/start-pods.ts";
import { clients, type RegistryClient } from "./clients.ts";
import { type Ended, succeed } from "./command.ts";
import { makeImage } from "./images.ts";
import { skopeoIn } from "./skopeo.ts";
import { openStage, type Stage } from "./stage.ts";
import { expectPodsApart } from "./taps.ts";
import { describeWith, needs } from "./tools.ts";

const kinds = [
  ["toy", "toy", []],
  ["docker-registry", "registry", needs.registryPods],
  ["distribution v3", "distribution-v3", needs.distributionPods],
] as const satisfies readonly (readonly [string, PodKind, readonly string[]])[];

/** These clients ask for a mount when they copy within a registry. helm does not, because it has no copy: it pulls and pushes instead. */
const mounting = ["skopeo", "podman", "buildah", "crane", "oras", "regctl"];
const podIds = ["pod-a", "pod-b"] as const satisfies readonly LocalPodId[];

describe.each(kinds)("one login for two %s Pods", (_, kind, tools) => {
  describeWith([...tools, "skopeo", ...Object.keys(clients)], "by each client", () => {
    let stage: Stage;

    beforeAll(async () => {
      stage = await openStage(kind);
      await makeImage(`${stage.dir}/image`, [200_000, 300_000]);
      const to = `docker://${stage.host}/acme/seed:1`;
      await skopeoIn(stage.dir)("copy", "--dest-creds", "demo:demo", `oci:${stage.dir}/image:image`, to);
    });
    afterAll(() => stage?.close());

    it.each(Object.keys(clients) as (keyof typeof clients)[])("%s pushes, copies and pulls on both", async (name) => {
      const { stack, dir, host } = stage;
      const home = `${dir}/${name}`;
      await mkdir(home, { recursive: true });
      const client: RegistryClient = clients[name](host, home);
      const step = (what: string, ended: Promise<Ended>) => succeed(ended, `${name} ${what}`);
      const tag = name === "helm" ? "1.0.0" : "1";
      const images = { a: `acme/by-${name}:${tag}`, b: `globex/by-${name}:${tag}` };

      const wrong = await client.login("wrong");
      // crane's login sends no request. So only a pull shows that its password is wrong.
      expect((name === "crane" ? await client.pull("acme/seed:1") : wrong).code).not.toBe(0);
      await step("login", client.login("demo"));
      await step("push", client.push(`${dir}/image`, "acme/seed:1", images.a));
      await expectPodsApart(stack);
      stack.clearSeen();

      await step("copy", client.copy(images.a, images.b));
      await expectPodsApart(stack);
      expectMounts(name);
      expectTokenRequests();
      stack.clearSeen();

      for (const image of [images.a, images.b]) await step(`pull of ${image}`, client.pull(image));
      await expectPodsApart(stack);
      stack.clearSeen();
    });

    /** A mount across Pods gets 202, and the client uploads the blob. */
    function expectMounts(name: string): void {
      const mounts = stage.stack.edgeSeen().filter(({ path }) => /[?&]from=acme(%2F|\/)/.test(path));
      expect(mounts.map(({ status }) => status)).toEqual(mounts.map(() => 202));
      expect(mounts.length > 0).toBe(mounting.includes(name));
    }

    /** Expects that one token request asks each Pod at most once, and asks only Pods whose repositories are in its scopes. */
    function expectTokenRequests(): void {
      const asked = stage.stack.edgeSeen().filter(({ endpoint, status }) => endpoint === "token" && status === 200);
      for (const { path, podRequests, pod } of asked) {
        const names = new URL(path, stage.stack.edge).searchParams.getAll("scope").join(" ");
        const ofPods = podIds.filter((id) => names.includes(`:${id === "pod-a" ? "acme" : "globex"}/`));
        // A login names no repository, so the default Pod answers it.
        expect([podRequests, pod?.split(",").toSorted()], path).toEqual(
          ofPods.length === 0 ? [1, ["pod-a"]] : [ofPods.length, ofPods],
        );
      }
      const requests = asked.reduce((sum, { podRequests }) => sum + podRequests, 0);
      const seen = podIds.flatMap((pod) => stage.stack.seen(pod, "token")).filter(({ status }) => status === 200);
      expect(seen.length).toBe(requests);
    }
  });
});
