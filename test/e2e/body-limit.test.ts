import { mkdir } from "node:fs/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { clients } from "./clients.ts";
import { succeed } from "./command.ts";
import { ctrIn } from "./ctr.ts";
import { buildImage, type Docker, dockerIn } from "./docker.ts";
import { makeImage, megabyte } from "./images.ts";
import { openStage, type Stage } from "./stage.ts";
import { describeWith, needs } from "./tools.ts";

/** If a whole layer is refused, regctl sends pieces of 1 MiB. So the limit must be above 1 MiB. */
const limitBytes = 2 * megabyte;
const layerBytes = 3 * megabyte;
const refused = ["skopeo", "crane", "oras"] as const;

describeWith([...needs.dockerd, "ctr", ...refused, "regctl"], "layer over the CDN's limit, without a gateway", () => {
  let stage: Stage;
  let docker: Docker;
  beforeAll(async () => {
    stage = await openStage("toy", { bodyLimitBytes: limitBytes });
    docker = await dockerIn(stage.dir);
    await docker("login", "-u", "demo", "-p", "demo", stage.host);
  });
  afterAll(async () => {
    await docker?.stop();
    await stage?.close();
  });

  /** Without a manifest, no client can find the image. */
  function expectNothingOf(name: string): void {
    const seen = [...stage.stack.seen("pod-a", "registry"), ...stage.stack.seen("pod-b", "registry")];
    expect(seen.filter(({ method, path }) => method === "PUT" && path.includes(`/${name}/manifests/`))).toEqual([]);
  }

  async function prepare(name: keyof typeof clients) {
    const layout = `${stage.dir}/${name}/image`;
    await mkdir(layout, { recursive: true });
    await makeImage(layout, [layerBytes]);
    const client = clients[name](stage.host, `${stage.dir}/${name}`);
    await succeed(client.login("demo"), `${name} login`);
    return { client, layout };
  }

  it.each(refused)("%s is refused with Cloudflare's 413, and nothing of its image is there", async (name) => {
    const { client, layout } = await prepare(name);
    const { code, stderr } = await client.push(layout, "", `acme/by-${name}:1`);
    // A client that is still sending when the 413 comes may see only that its connection breaks.
    expect([code === 0, stderr]).toEqual([false, expect.stringMatching(/413|broken pipe|connection reset/)]);
    expectNothingOf(`by-${name}`);
  });

  it("docker's message is the one in docs/gateway.md, and nothing of its image is there", async () => {
    const image = `${stage.host}/acme/by-docker:1`;
    await buildImage(docker, image, { dir: stage.dir, layerSizes: [layerBytes] });
    const { code, stderr } = await docker.attempt("push", image);
    const message = "error parsing HTTP 413 response body: invalid character '<' looking for beginning of value";
    expect([code, stderr]).toEqual([1, expect.stringContaining(message)]);
    expectNothingOf("by-docker");
  });

  it("regctl goes on in pieces that fit, and its image can be pulled", async () => {
    await pushInPieces("acme/in-pieces:1");
    await succeed(clients.regctl(stage.host, `${stage.dir}/regctl`).pull("acme/in-pieces:1"), "regctl pull");
  });

  it("ctr of containerd 2 gets Cloudflare's 413, and nothing of its image is there", async () => {
    await pushInPieces("acme/by-regctl:1");
    const ctr = ctrIn(docker, stage.host, "containerd 2");
    await ctr.pull("acme/by-regctl:1");
    const { code, stderr } = await ctr.attemptPush(`${stage.host}/acme/by-regctl:1`, "globex/by-ctr:1");
    expect([code, stderr]).toEqual([1, expect.stringContaining("413 Request Entity Too Large")]);
    expectNothingOf("by-ctr");
  });

  async function pushInPieces(image: string): Promise<void> {
    const { client, layout } = await prepare("regctl");
    await succeed(client.push(layout, "", image), "regctl push");
  }
});
