import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { writeStackFile } from "../../src/local/stack-files.ts";
import { createClient } from "../support/client.ts";
import { podctl } from "../support/podctl.ts";
import { onOneRegistry, readStackKv } from "../support/toy-stack.ts";
import { craneIn } from "./crane.ts";
import { buildImage, type Docker, dockerIn } from "./docker.ts";
import { megabyte } from "./images.ts";
import { openStage, type Stage } from "./stage.ts";
import { describeWith, needs } from "./tools.ts";

/** An isolate remembers an assignment for 30 s. So 35 s after a change, every isolate uses the new assignment. */
const waitSeconds = 35;

describeWith(
  [...needs.distributionPods, ...needs.dockerd, "crane"],
  "two Pods on one distribution v3 that trusts both keys",
  () => {
    let stage: Stage;
    let docker: Docker;
    const remote = (image: string) => `${stage.host}/${image}`;
    const registrySaw = () => stage.stack.seen("pod-a", "registry");
    const idOf = async (image: string) =>
      (await docker("image", "inspect", "--format", "{{.Id}}", remote(image))).trim();

    beforeAll(async () => {
      stage = await openStage("distribution-v3", onOneRegistry);
      docker = await dockerIn(stage.dir);
      await writeStackFile(stage.stack, `${stage.dir}/stack.json`);
    });
    afterAll(async () => {
      await docker?.stop();
      await stage?.close();
    });

    async function pull(image: string): Promise<string> {
      await docker("pull", remote(image));
      const id = await idOf(image);
      await docker("image", "rm", remote(image));
      return id;
    }

    it("docker logs in, pushes and pulls under both prefixes, and each Pod gives the tokens of its own names", async () => {
      await docker("login", "-u", "demo", "-p", "demo", stage.host);
      for (const name of ["acme/app:1", "globex/app:1"]) {
        stage.stack.clearSeen();
        await buildImage(docker, remote(name), { dir: stage.dir, layerSizes: [megabyte, 2 * megabyte] });
        const id = await idOf(name);
        await docker("push", remote(name));
        await docker("image", "rm", remote(name));
        expect(await pull(name)).toBe(id);
        const [own, other] = name.startsWith("acme") ? (["pod-a", "pod-b"] as const) : (["pod-b", "pod-a"] as const);
        const scopes = (pod: "pod-a" | "pod-b") =>
          stage.stack.seen(pod, "token").filter(({ path }) => path.includes("scope="));
        expect([scopes(own).length > 0, scopes(other)]).toEqual([true, []]);
      }
      const toStorage = stage.stack.seen("pod-a", "storage").map(({ authorization }) => authorization);
      expect(new Set(toStorage)).toEqual(new Set(["none"]));
    });

    it("docker's push of an image of the other Pod sends no mount to the registry, and the image is whole", async () => {
      await docker("pull", remote("acme/app:1"));
      const id = await idOf("acme/app:1");
      await docker("tag", remote("acme/app:1"), remote("globex/copy:1"));
      stage.stack.clearSeen();
      await docker("push", remote("globex/copy:1"));
      expect(registrySaw().filter(({ path }) => path.includes("mount="))).toEqual([]);
      await docker("image", "rm", remote("acme/app:1"), remote("globex/copy:1"));
      expect(await pull("globex/copy:1")).toBe(id);
    });

    it("the edge refuses Pod A's token for a name of Pod B, although the registry takes it", async () => {
      const { token, registry } = stage.stack.pods["pod-a"];
      const query = new URLSearchParams({ service: "pod-a-registry", scope: "repository:globex/app:pull,push" });
      const headers = { Authorization: `Basic ${btoa("demo:demo")}` };
      const given = (await (await fetch(`${token.direct}/jwt/auth?${query}`, { headers })).json()) as { token: string };
      const path = "/v2/globex/app/manifests/1";
      expect((await createClient(registry.direct).get(path, given.token)).status).toBe(200);
      stage.stack.clearSeen();
      const client = createClient(stage.stack.edge);
      for (const sent of [given.token, `pods.v1.pod-a/${given.token}`, `pods.v1.pod-b/${given.token}`]) {
        const uploads = await client.get("/v2/globex/app/blobs/uploads/", sent, { method: "POST" });
        expect([(await client.get(path, sent)).status, uploads.status]).toEqual([401, 401]);
      }
      expect(registrySaw()).toEqual([]);
    });

    it("a group moves to the other Pod in two phases without a copy, while every push and pull succeeds", {
      timeout: 300_000,
    }, async () => {
      const crane = craneIn(stage.dir);
      await crane("auth", "login", stage.host, "-u", "demo", "-p", "demo");
      const id = await pull("acme/app:1");
      const ending = new AbortController();
      const traffic = Promise.allSettled([
        (async () => {
          const tags: string[] = [];
          for (let tag = 1; !ending.signal.aborted; tag += 1) {
            await crane("cp", remote("globex/app:1"), remote(`acme/moving:${tag}`));
            await crane("pull", remote(`acme/moving:${tag}`), `${stage.dir}/pulled`);
            tags.push(String(tag));
            await sleep(500);
          }
          return tags;
        })(),
      ]);
      const env = { NO_COLOR: "1", PODCTL_STACK: `${stage.dir}/stack.json` };
      const options = ["--yes", "--wait", String(waitSeconds), "--state", `${stage.dir}/moves`];
      const moved = await podctl(["move", "acme", "--to", "pod-b", ...options], { env });
      await sleep(waitSeconds * 1_000);
      ending.abort();
      const [ended] = await traffic;
      expect([moved.code, moved.stderr]).toEqual([0, expect.stringContaining("acme: only pod-b has it now")]);
      expect(moved.stderr.match(/acme: (copy|freeze|switch|settle)/g)).toEqual(["acme: copy", "acme: settle"]);
      expect(ended).toEqual({ status: "fulfilled", value: expect.any(Array) });
      const tags = ended?.status === "fulfilled" ? ended.value : [];
      expect(tags.length).toBeGreaterThan(10);
      expect((await crane("ls", remote("acme/moving"))).trim().split("\n").toSorted()).toEqual(tags.toSorted());
      const live = (await readStackKv(stage.stack, ["route/acme"])).get("route/acme") ?? "";
      expect(JSON.parse(live)).toEqual({ v: 1, revision: expect.any(Number), pod: "pod-b", state: "active" });
      stage.stack.clearSeen();
      expect(await pull("acme/app:1")).toBe(id);
      await docker("pull", remote("acme/app:1"));
      await docker("push", remote("acme/app:1"));
      const asked = stage.stack.seen("pod-a", "token").filter(({ path }) => path.includes("scope="));
      expect([asked, stage.stack.seen("pod-b", "token").length > 0]).toEqual([[], true]);
    });
  },
);
