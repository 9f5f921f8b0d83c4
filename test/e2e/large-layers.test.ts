import { mkdir } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PodKind } from "../../src/local/pods/start-pods.ts";
import { withStores } from "../support/toy-stack.ts";
import { clients } from "./clients.ts";
import { succeed } from "./command.ts";
import { ctrIn } from "./ctr.ts";
import { type Docker, dockerIn } from "./docker.ts";
import { makeImage, megabyte } from "./images.ts";
import { skopeoIn } from "./skopeo.ts";
import { openStage, type Stage } from "./stage.ts";
import { describeWith, needs } from "./tools.ts";

const kinds = [
  ["docker-registry", "registry", needs.registryPods],
  ["distribution v3", "distribution-v3", needs.distributionPods],
] as const satisfies readonly (readonly [string, PodKind, readonly string[]])[];

const limitBytes = 100 * megabyte;
const layerBytes = 110 * megabyte;
/** These clients differ in how they send a layer: in a PATCH or in a PUT, with its length or chunked. */
const travelling = ["skopeo", "podman", "crane", "regctl"] as const;

describe.each(kinds)("layer over the CDN's limit, to %s with gateways", (_, kind, tools) => {
  describeWith([...tools, ...travelling, "oras", "helm"], "by stock clients", () => {
    let stage: Stage;
    let docker: Docker | undefined;
    beforeAll(async () => {
      // With `scheme: pod`, the edge signs no URLs. So no gateway can copy the layer from the other Pod, and every client has to push it.
      const topology = withStores("[{ scheme: pod }]", "[{ scheme: pod }]");
      // The edge sends skopeo and podman only to a gateway that the edge's operator runs.
      stage = await openStage(kind, { gateways: "fleet", bodyLimitBytes: limitBytes, topology });
    });
    afterAll(async () => {
      await docker?.stop();
      await stage?.close();
    });

    /**
     * Makes a different image for each client. The clients share a cache that says which repositories have a layer, so a second client might not push
     * the same layer.
     */
    async function seed(name: string): Promise<{ readonly layout: string; readonly image: string }> {
      const { host, dir } = stage;
      const [layout, image] = [`${dir}/${name}/image`, `globex/seed-${name}:1`];
      await mkdir(layout, { recursive: true });
      await makeImage(layout, [layerBytes]);
      if (name === "podman" || name === "docker") {
        const to = `docker://${host}/${image}`;
        await skopeoIn(dir)("copy", "--dest-creds", "demo:demo", `oci:${layout}:image`, to);
      }
      return { layout, image };
    }

    it.each(travelling)("%s pushes and pulls it, and no byte of it passes through the edge", async (name) => {
      const { host, dir } = stage;
      const { layout, image } = await seed(name);
      const client = clients[name](host, `${dir}/${name}`);
      await succeed(client.login("demo"), `${name} login`);
      stage.stack.clearSeen();
      await succeed(client.push(layout, image, `acme/by-${name}:1`), `${name} push`);
      await expectByGateway();
      await succeed(client.pull(`acme/by-${name}:1`), `${name} pull`);
    });

    it("oras refuses the gateway's host: it pushes what fits through the edge, and gets the CDN's 413 for the rest", async () => {
      const { host, dir, stack } = stage;
      const { layout } = await seed("oras");
      await makeImage(`${dir}/oras/small`, [megabyte]);
      const client = clients.oras(host, `${dir}/oras`);
      await succeed(client.login("demo"), "oras login");
      await succeed(client.push(`${dir}/oras/small`, "", "acme/by-oras:1"), "oras push");
      stack.clearSeen();
      const refused = await client.push(layout, "", "acme/by-oras:2");
      expect([refused.code === 0, refused.stderr]).toEqual([false, expect.stringContaining("413")]);
      expect(stack.seen("pod-a", "gateway")).toEqual([]);
    });

    it("helm refuses the gateway's host, too, and its chart goes through the edge", async () => {
      const { host, dir, stack } = stage;
      await mkdir(`${dir}/helm`, { recursive: true });
      const client = clients.helm(host, `${dir}/helm`);
      await succeed(client.login("demo"), "helm login");
      stack.clearSeen();
      await succeed(client.push("", "", "acme/by-helm:1.0.0"), "helm push");
      await succeed(client.pull("acme/by-helm:1.0.0"), "helm pull");
      expect(stack.seen("pod-a", "gateway")).toEqual([]);
    });

    describeWith([...needs.dockerd, "ctr"], "by dockerd", () => {
      it("docker pushes and pulls it, and no byte of it passes through the edge", async () => {
        const { host, stack, dir } = stage;
        const { image } = await seed("docker");
        docker ??= await dockerIn(dir);
        await docker("login", "-u", "demo", "-p", "demo", host);
        await docker("pull", `${host}/${image}`);
        await docker("tag", `${host}/${image}`, `${host}/acme/by-docker:1`);
        stack.clearSeen();
        await docker("push", `${host}/acme/by-docker:1`);
        await expectByGateway();
        await docker("rmi", `${host}/${image}`, `${host}/acme/by-docker:1`);
        await docker("pull", `${host}/acme/by-docker:1`);
      });

      it("ctr of containerd 2 pushes and pulls it, and no byte of it passes through the edge", async () => {
        // The test above copied this image to acme's Pod, but docker compressed its layer again. So that Pod lacks the original layer, and ctr must
        // push it.
        const image = "globex/seed-docker:1";
        docker ??= await dockerIn(stage.dir);
        const ctr = ctrIn(docker, stage.host, "containerd 2");
        await ctr.pull(image);
        stage.stack.clearSeen();
        await ctr.push(`${stage.host}/${image}`, "acme/by-ctr:1");
        await expectByGateway();
        await ctr.pull("acme/by-ctr:1");
      });
    });

    /** The layer's size may differ a little, because docker compresses the layer again. */
    async function expectByGateway(): Promise<void> {
      const { stack } = stage;
      const bytes = stack.seen("pod-a", "gateway").map(({ requestBytes }) => requestBytes);
      expect(Math.max(...bytes)).toBeGreaterThan(layerBytes * 0.99);
      await stack.edgeSettled();
      expect(Math.max(...stack.edgeSeen().map(({ requestBytes }) => requestBytes ?? 0))).toBeLessThan(megabyte);
    }
  });
});
