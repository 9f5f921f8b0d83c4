import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { createClient, sha256 } from "../support/client.ts";
import { buildImage, type Docker, dockerIn } from "./docker.ts";
import { type Front, startFront } from "./front.ts";
import { megabyte } from "./images.ts";
import { openStageWithGateways, type StageWithGateways } from "./own-gateways.ts";
import { describeWith, needs } from "./tools.ts";

/** The pace of a connection to a gateway while a test waits for the middle of an upload. */
const slowBytesPerSecond = 4 * megabyte;
const layerBytes = 20 * megabyte;

describeWith(needs.docker, "gateway that crashes, to docker-registry", () => {
  let stage: StageWithGateways;
  let front: Front;
  let docker: Docker;
  let replicas: Awaited<ReturnType<StageWithGateways["startReplica"]>>[] = [];

  beforeAll(async () => {
    front = await startFront();
    stage = await openStageWithGateways("registry", { port: front.port });
    docker = await dockerIn(stage.dir);
    await docker("login", "-u", "demo", "-p", "demo", stage.host);
  });
  afterEach(async () => {
    front.setPace(null);
    await Promise.all(replicas.map((replica) => replica.stop()));
    replicas = [];
    stage.stack.clearSeen();
  });
  afterAll(async () => {
    await docker?.stop();
    await front?.stop();
    await stage?.close();
  });

  async function startReplicas(count: number): Promise<void> {
    for (let started = 0; started < count; started += 1) replicas.push(await stage.startReplica());
    front.setTargets(replicas.map(({ port }) => port));
  }

  const patches = () => stage.stack.seen("pod-a", "registry").filter(({ method }) => method === "PATCH");

  /** Returns how many blobs are in the registry's storage. */
  async function expectWholeBlobs(): Promise<number> {
    const blobs = `${stage.stack.stateDir}/pods/pod-a/buckets/pod-a/docker/registry/v2/blobs/sha256`;
    const files = (await readdir(blobs, { recursive: true })).filter((path) => path.endsWith("/data"));
    for (const path of files) {
      const hash = createHash("sha256");
      await pipeline(createReadStream(`${blobs}/${path}`), hash);
      expect(hash.digest("hex")).toBe(path.split("/").at(-2));
    }
    return files.length;
  }

  /** Calls `crash` when half of the layer has reached the registry. */
  async function pushWithCrash(name: string, crash: () => Promise<void>): Promise<void> {
    const image = `${stage.host}/acme/${name}:1`;
    await buildImage(docker, image, { dir: stage.dir, layerSizes: [layerBytes] });
    const before = await expectWholeBlobs();
    stage.stack.clearSeen();
    front.setPace(slowBytesPerSecond);
    const pushed = docker.attempt("push", image);
    const half = () => patches().some(({ requestBytes }) => requestBytes > layerBytes / 2);
    await expect.poll(half, { timeout: 30_000, interval: 20 }).toBe(true);
    await crash();
    // One new blob is allowed, because the registry may have taken the image's config before the crash.
    expect((await expectWholeBlobs()) - before).toBeLessThan(2);
    front.setPace(null);
    const { code, stderr } = await pushed;
    expect([code, stderr]).toEqual([0, ""]);
    await expectWholeBlobs();
    const cut = patches().filter(({ status }) => status === null);
    const whole = patches().filter(({ requestBytes }) => requestBytes > layerBytes * 0.99);
    expect([cut.length, whole.map(({ status }) => status)]).toEqual([1, [202]]);
    await docker("image", "rm", image);
    await docker("pull", image);
  }

  it("docker's push completes by its own retry after the gateway is killed and started again", async () => {
    await startReplicas(1);
    await pushWithCrash("crash", async () => {
      const [killed] = replicas;
      await killed?.kill();
      replicas = [await stage.startReplica(killed?.port)];
    });
  });

  it("docker's push completes at the other replica after one of two is killed", async () => {
    await startReplicas(2);
    await pushWithCrash("one-of-two", async () => {
      const latest = front
        .connections()
        .filter(({ bytes }) => bytes > layerBytes / 4)
        .at(-1);
      const busy = replicas.filter(({ port }) => port === latest?.port);
      await Promise.all(busy.map((replica) => replica.kill()));
      replicas = replicas.filter((replica) => !busy.includes(replica));
    });
  });

  it("two replicas behind a round-robin balancer serve one upload", async () => {
    await startReplicas(2);
    const client = createClient(stage.stack.edge);
    const token = await client.token(["repository:acme/spread:pull,push"]);
    const headers = { "User-Agent": "docker/20.10.24" };
    const started = await client.get("/v2/acme/spread/blobs/uploads/", token, { method: "POST", headers });
    const location = new URL(started.headers.get("Location") ?? "");
    const before = front.connections().length;
    const ask = (method: string, path: string, body: Uint8Array<ArrayBuffer> | null = null) =>
      fetch(path, { method, body, headers: { Connection: "close" } });
    const status = await ask("GET", location.href);
    const bytes = new Uint8Array(layerBytes).fill(7);
    const digest = await sha256(bytes);
    const done = await ask("PUT", `${location.href}&digest=${digest}`, bytes);
    expect([status.status, done.status]).toEqual([204, 201]);
    const ports = front
      .connections()
      .slice(before)
      .map(({ port }) => port);
    expect(new Set(ports)).toEqual(new Set(replicas.map(({ port }) => port)));
    const blob = await client.get(`/v2/acme/spread/blobs/${digest}`, token, { redirect: "follow" });
    expect(await sha256(new Uint8Array(await blob.arrayBuffer()))).toBe(digest);
  });
});
