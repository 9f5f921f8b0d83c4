import { mkdir, readdir, stat } from "node:fs/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Digest } from "../../src/oci/digest.ts";
import { mountLimits, sealOrder } from "../../src/pods/mount-order.ts";
import { createClient, pushBlob } from "../support/client.ts";
import { edgeOrigin, repositoryName, startTestGateway } from "../support/gateway.ts";
import { basic, serveForTest, sha256, type ToyPod } from "../support/toy-pod.ts";
import { clients } from "./clients.ts";
import { run, succeed } from "./command.ts";
import { ctrIn, ctrVersions } from "./ctr.ts";
import { dockerIn } from "./docker.ts";
import { makeImage, megabyte } from "./images.ts";
import { skopeoIn } from "./skopeo.ts";
import { openStage, type Stage } from "./stage.ts";
import { describeWith, needs, realPods } from "./tools.ts";

const baseBytes = 5 * megabyte;
/** These clients ask for a mount in different ways: skopeo and podman send a HEAD first, and crane adds the parameter `origin`. */
const copying = ["regctl", "crane", "skopeo", "podman", "oras"] as const;

describe.each(realPods)("mount from the other Pod, to %s with gateways", (kind, tools) => {
  describeWith([...tools, ...copying], "by stock clients", () => {
    let stage: Stage;
    beforeAll(async () => {
      stage = await openStage(kind, { gateways: "fleet", bodyLimitBytes: megabyte });
    });
    afterEach(async () => {
      for (const pod of ["pod-a", "pod-b"] as const) {
        for (const service of ["storage", "gateway"] as const)
          await stage.stack.setFault(pod, service, { mode: "none" });
      }
    });
    afterAll(() => stage?.close());

    async function seed(name: string): Promise<string> {
      const [layout, image] = [`${stage.dir}/${name}/seed`, `acme/base-${name}:1`];
      await mkdir(layout, { recursive: true });
      await makeImage(layout, [baseBytes]);
      const to = `docker://${stage.host}/${image}`;
      await skopeoIn(stage.dir)("copy", "--dest-creds", "demo:demo", `oci:${layout}:image`, to);
      return image;
    }

    /** Expects that the base layer was mounted: only Pod A's storage and Pod B's gateway and registry saw its bytes. */
    async function expectMounted(): Promise<void> {
      const { stack } = stage;
      await stack.edgeSettled();
      const mounted = stack.edgeSeen().filter(({ outcome }) => outcome === "mounted");
      expect(mounted.length).toBeGreaterThan(0);
      expect(Math.max(...stack.edgeSeen().map(({ requestBytes }) => requestBytes ?? 0))).toBeLessThan(megabyte / 2);
      const atGateway = stack.seen("pod-b", "gateway");
      expect(atGateway.filter(({ method, status }) => method === "POST" && status === 201)).toHaveLength(
        mounted.length,
      );
      expect(Math.max(...atGateway.map(({ requestBytes }) => requestBytes))).toBeLessThan(megabyte / 2);
      const fetched = stack.seen("pod-a", "storage").filter(({ responseBytes }) => responseBytes > baseBytes * 0.9);
      expect(fetched).toMatchObject([{ method: "GET", status: 200, authorization: "none" }]);
      const copied = stack.seen("pod-b", "registry").filter(({ requestBytes }) => requestBytes > baseBytes * 0.9);
      expect(copied).toMatchObject([{ method: "PATCH", status: 202 }]);
    }

    /** distribution leaves the hash state of a deleted upload in the bucket. So we look only for the other two files of an upload. */
    async function expectNoUploadIn(repository: string): Promise<void> {
      const bucket = `${stage.stack.stateDir}/pods/pod-b/buckets/pod-b`;
      const below = `${bucket}/docker/registry/v2/repositories/${repository}/_uploads`;
      const open = async () =>
        (await readdir(below, { recursive: true }).catch(() => [])).filter((path) => /\/(startedat|data)$/.test(path));
      await expect.poll(open).toEqual([]);
    }

    it.each(copying)("%s gets 201, and no byte of the layer passes through it or the edge", async (name) => {
      const image = await seed(name);
      const client = clients[name](stage.host, `${stage.dir}/${name}`);
      await succeed(client.login("demo"), `${name} login`);
      // podman cannot copy within a registry, so it pulls the image first and then pushes it.
      const pulled = name === "podman" ? (await client.pull(image)).code : 0;
      expect(pulled).toBe(0);
      stage.stack.clearSeen();
      await succeed(client.copy(image, `globex/by-${name}:1`), `${name} copy`);
      await expectMounted();
      await succeed(client.pull(`globex/by-${name}:1`), `${name} pull`);
      await expectNoUploadIn(`globex/by-${name}`);
    });

    it.each([
      ["the store has lost the layer", "pod-a", "storage", { mode: "status", status: 404 }],
      ["the store cuts the copy", "pod-a", "storage", { mode: "reset" }],
      ["the gateway is down", "pod-b", "gateway", { mode: "refuse" }],
    ] as const)("if %s, an ordinary upload follows, and no other upload is left", async (what, pod, service, fault) => {
      const { stack } = stage;
      const [source, target] = [`acme/failed-${fault.mode}`, `globex/failed-${fault.mode}`];
      const text = `a layer, but ${what} `.repeat(10_000);
      const digest = await pushBlob(stack, source, text);
      const client = createClient(stack.edge);
      // Without the right to delete, the registry would not let the gateway remove an upload.
      const token = await client.token([`repository:${target}:pull,push,delete`, `repository:${source}:pull`]);
      await stack.setFault(pod, service, fault);
      const asked = await client.get(`/v2/${target}/blobs/uploads/?mount=${digest}&from=${source}`, token, {
        method: "POST",
        headers: { "User-Agent": "oras" },
      });
      await stack.setFault(pod, service, { mode: "none" });
      await stack.edgeSettled();
      expect(stack.edgeSeen().at(-1)).toMatchObject({ outcome: "forwarded", status: 202 });
      expect(stack.edgeLines().at(-1)).toContain('"notMounted":"the gateway');
      const location = `${asked.headers.get("Location")}&digest=${digest}`;
      const done = await client.get(location, token, { method: "PUT", body: text });
      expect(done.status).toBe(201);
      const blob = await client.get(`/v2/${target}/blobs/${digest}`, token, { redirect: "follow" });
      expect(await blob.text()).toBe(text);
      await expectNoUploadIn(target);
    });

    describeWith(["root", "mount", "umount"], "with a small disk below the target", () => {
      const diskBytes = 8 * megabyte;
      /** After an upload is deleted, some small files of it remain, such as the state of its hash. Together they are smaller than this. */
      const littleBytes = 100_000;

      it("if the target is full, an ordinary upload follows, which gets an OCI error, and no byte is left of either", async () => {
        const { stack } = stage;
        const [source, target] = ["acme/large", "globex/full"];
        const text = "a layer that does not fit ".repeat(diskBytes / 10);
        const digest = await pushBlob(stack, source, text);
        const client = createClient(stack.edge);
        const token = await client.token([`repository:${target}:pull,push,delete`, `repository:${source}:pull`]);
        const bucket = `${stack.stateDir}/pods/pod-b/buckets/pod-b`;
        const begin = (query = "") =>
          client.get(`/v2/${target}/blobs/uploads/${query}`, token, {
            method: "POST",
            headers: { "User-Agent": "docker/20.10.24" },
          });
        await succeed(run("mount", ["-t", "tmpfs", "-o", `size=${diskBytes}`, "tmpfs", bucket]), "mount");
        try {
          stack.clearSeen();
          const asked = await begin(`?mount=${digest}&from=${source}`);
          await stack.edgeSettled();
          expect([asked.status, stack.edgeLines().at(-1)]).toEqual([
            202,
            expect.stringContaining('"notMounted":"the gateway answered 409: the registry answered '),
          ]);
          expect(await bytesIn(bucket)).toBeLessThan(littleBytes);
          const location = asked.headers.get("Location") ?? "";
          const sent = await fetch(`${location}&digest=${digest}`, { method: "PUT", body: text });
          expect([sent.status, await sent.json()]).toEqual([
            500,
            { errors: [expect.objectContaining({ code: "UNKNOWN" })] },
          ]);
          expect((await client.get(`/v2/${target}/blobs/${digest}`, token, { method: "HEAD" })).status).toBe(404);
          // The registry itself has removed the upload.
          expect((await fetch(location, { method: "DELETE" })).status).toBe(404);
          expect(await bytesIn(bucket)).toBeLessThan(littleBytes);
        } finally {
          await succeed(run("umount", [bucket]), "umount");
        }
        const again = await begin(`?mount=${digest}&from=${source}`);
        expect(again.status).toBe(201);
      });

      async function bytesIn(folder: string): Promise<number> {
        const names = await readdir(folder, { recursive: true });
        const files = await Promise.all(names.map((name) => stat(`${folder}/${name}`)));
        return files.reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0);
      }
    });

    it.each([
      ["leaves no upload with the right to delete", "pull,push,delete", "DELETE 204"],
      ["leaves an upload that is no blob without it", "pull,push", "DELETE 401"],
    ])("a copy that breaks off in the middle %s", async (_, actions, removal) => {
      const { registry, token } = stage.stack.pods["pod-b"];
      const repository = repositoryName(`globex/half-${actions.length}`);
      const query = `service=pod-b-registry&scope=repository:${repository}:${actions}`;
      const headers = { Authorization: basic("demo", "demo") };
      const granted = await fetch(`${token.url}/jwt/auth?${query}`, { headers });
      const { token: ofPod } = (await granted.json()) as { token: string };
      const gateway = await startTestGateway({ pod: { registry: registry.url } as ToyPod, env: { POD: "pod-b" } });
      const layer = Buffer.alloc(baseBytes, `a layer for ${actions}`);
      const port = await serveForTest((_request, response) => {
        response.writeHead(200, { "Content-Length": baseBytes }).write(layer.subarray(0, baseBytes / 2));
        setTimeout(() => response.socket?.destroy(), 500);
      });
      const order = {
        ...{ pod: "pod-b", repository, digest: sha256(layer) as Digest, token: ofPod },
        ...{ url: `http://127.0.0.1:${port}/`, registry: registry.url, edge: edgeOrigin, copyMs: mountLimits.copyMs },
      };
      const body = await sealOrder(order, { keys: gateway.config.keys, now: new Date() });
      const answer = await fetch(`${gateway.url}/v2/${repository}/blobs/uploads/`, { method: "POST", body });
      expect([answer.status, await answer.text()]).toEqual([
        409,
        expect.stringContaining("the source broke off after"),
      ]);
      const asked = gateway.tap.seen().map(({ method, status }) => `${method} ${status}`);
      expect(asked).toEqual(["HEAD 404", "POST 202", "PATCH 202", removal]);
      if (removal === "DELETE 204") await expectNoUploadIn(repository);
      const blob = `${registry.url}/v2/${repository}/blobs/${order.digest}`;
      const head = await fetch(blob, { method: "HEAD", headers: { Authorization: `Bearer ${ofPod}` } });
      expect(head.status).toBe(404);
    });

    describeWith([...needs.dockerd, "ctr"], "by dockerd", () => {
      it("`docker push` and `ctr push` of containerd 1.6 and 2 of an image with its base in the other Pod mount the base", async () => {
        const docker = await dockerIn(stage.dir);
        try {
          const image = `${stage.host}/${await seed("docker")}`;
          await docker("login", "-u", "demo", "-p", "demo", stage.host);
          await docker("pull", image);
          await docker("tag", image, `${stage.host}/globex/by-docker:1`);
          stage.stack.clearSeen();
          await docker("push", `${stage.host}/globex/by-docker:1`);
          await expectMounted();
          await expectNoUploadIn("globex/by-docker");
          for (const [index, version] of ctrVersions.entries()) {
            const ofCtr = await seed(`ctr-${index}`);
            const ctr = ctrIn(docker, stage.host, version);
            await ctr.pull(ofCtr);
            stage.stack.clearSeen();
            await ctr.push(`${stage.host}/${ofCtr}`, `globex/by-ctr-${index}:1`);
            await expectMounted();
          }
        } finally {
          await docker.stop();
        }
      });
    });
  });
});
