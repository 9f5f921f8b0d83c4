/** A Pod whose registry is a pull-through cache of another registry. The cache gives manifests before their blobs are in its storage. */
import { readFile, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { childEnv, startChild } from "../../src/local/child-process.ts";
import { helloImage, type Image } from "../../src/local/images.ts";
import { findBinaries } from "../../src/local/pods/find-binaries.ts";
import type { PodKind } from "../../src/local/pods/start-pods.ts";
import { loopback } from "../../src/local/ports.ts";
import { writeStackFile } from "../../src/local/stack-files.ts";
import { Teardown } from "../../src/local/teardown.ts";
import { createClient } from "../support/client.ts";
import { podctl } from "../support/podctl.ts";
import { healthyRecords } from "../support/sick-pods.ts";
import { openStage, type Stage } from "./stage.ts";
import { describeWith, needs } from "./tools.ts";

describeWith(needs.registryPods, "docker-registry as a pull-through cache", () =>
  scenario("registry", "docker-registry"),
);
describeWith(needs.distributionPods, "distribution v3 as a pull-through cache", () =>
  scenario("distribution-v3", "registry"),
);

const repository = "acme/public/cached";

async function push(origin: string, { config, layer, manifest, tag }: Image): Promise<void> {
  const url = `${origin}/v2/${repository}`;
  for (const { bytes, digest } of [config, layer]) {
    const started = await fetch(`${url}/blobs/uploads/`, { method: "POST" });
    const location = `${started.headers.get("Location")}&digest=${digest}`;
    expect((await fetch(location, { method: "PUT", body: new Uint8Array(bytes) })).status).toBe(201);
  }
  const headers = { "Content-Type": manifest.mediaType };
  const put = { method: "PUT", body: new Uint8Array(manifest.bytes), headers };
  expect((await fetch(`${url}/manifests/${tag}`, put)).status).toBe(201);
}

function scenario(pods: PodKind, program: "docker-registry" | "registry"): void {
  const teardown = new Teardown();
  const image = helloImage("acme");
  let stage: Stage;

  async function startRegistry(name: string, config: object): Promise<string> {
    const file = `${stage.dir}/${name}.json`;
    await writeFile(file, JSON.stringify({ version: 0.1, http: { addr: `${loopback}:0` }, ...config }));
    const [command] = findBinaries([program]);
    const readyPort = (output: string) => {
      const port = /listening on 127\.0\.0\.1:(\d+)/.exec(output)?.[1];
      return port === undefined ? null : Number(port);
    };
    const env = { ...childEnv(), OTEL_TRACES_EXPORTER: "none" };
    const { watchdog } = teardown;
    const child = await startChild({ name, command, args: ["serve", file], env, watchdog, readyPort });
    return `http://${loopback}:${teardown.add(child).port}`;
  }

  /** Replaces pod-a's registry by a new pull-through cache, which has no blob yet. */
  async function openCache(name: string, blobs: object): Promise<void> {
    const upstream = await startRegistry(`${name}-upstream`, { storage: { inmemory: {} } });
    await push(upstream, image);
    const own = JSON.parse(await readFile(`${stage.stack.stateDir}/pods/pod-a/registry.json`, "utf8"));
    const { auth, storage } = own as { auth: object; storage: { s3: object } };
    const s3 = { ...storage.s3, rootdirectory: `/${name}` };
    const cache = await startRegistry(name, { auth, storage: { ...storage, s3 }, proxy: { remoteurl: upstream } });
    const { "pod-a": healthy } = await healthyRecords(stage.stack);
    const [store] = healthy.blobs.stores;
    const record = {
      ...healthy,
      registry: cache,
      blobs: { ...healthy.blobs, stores: [{ ...store, prefix: name }], ...blobs },
      probe: { repository, digest: image.layer.digest },
    };
    const text = JSON.stringify({ v: 1, revision: 2, state: "active", ...record });
    await stage.stack.putKv("pod/pod-a", text);
    // After the restart, the edge knows the new record, and has no proofs from an earlier cache.
    await stage.stack.restartEdge();
  }

  beforeAll(async () => {
    stage = await openStage(pods);
    await writeStackFile(stage.stack, `${stage.dir}/stack.json`);
  });
  afterAll(async () => {
    await teardown.run();
    await stage?.close();
  });

  const doctor = (...args: readonly string[]) =>
    podctl(["doctor", "pod-a", ...args], { env: { PODCTL_STACK: `${stage.dir}/stack.json`, NO_COLOR: "1" } });

  async function pull(): Promise<readonly number[]> {
    const client = createClient(stage.stack.edge);
    const token = await client.token([`repository:${repository}:pull`]);
    const headers = { Accept: image.manifest.mediaType };
    expect((await client.get(`/v2/${repository}/manifests/1`, token, { headers })).status).toBe(200);
    const statuses: number[] = [];
    for (const { digest } of [image.config, image.layer]) {
      statuses.push((await client.get(`/v2/${repository}/blobs/${digest}`, token, { redirect: "follow" })).status);
    }
    return statuses;
  }

  it("doctor finds that its manifests prove blobs that the storage does not have, as clients see", async () => {
    await openCache("by-manifest", { proof: "manifest" });
    for (let run = 0; run < 2; run += 1) {
      const { code, stdout } = await doctor();
      expect([code, stdout]).toEqual([1, expect.stringMatching(/^pod-a +manifest proof +proof-without-blob/m)]);
    }
    const [config] = await pull();
    expect(config).toBe(404);
  });

  it("doctor finds with --write that it cannot show that it checks manifests", async () => {
    const { code, stdout } = await doctor("--write");
    expect([code, stdout]).toEqual([1, expect.stringMatching(/^pod-a +manifests +manifests-untested/m)]);
  });

  it("it is pulled from whole, and doctor finds nothing wrong, if it redirects by itself", async () => {
    await openCache("by-itself", { proof: "head", stores: [{ scheme: "pod" }] });
    expect(await pull()).toEqual([200, 200]);
    const { code, stdout } = await doctor();
    expect([code, stdout]).toEqual([0, expect.stringContaining("Nothing is wrong")]);
  });
}
