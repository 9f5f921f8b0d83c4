import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { root } from "../../../src/local/paths.ts";
import { bundleWorker } from "../../../src/local/workerd/bundle-worker.ts";
import type { KvFault } from "../../../src/local/workerd/kv-faults.ts";
import { startMiniflare } from "../../../src/local/workerd/miniflare.ts";
import { readWorkerConfig } from "../../../src/local/wrangler-config.ts";

/** A Worker that reads KV as the edge does. */
const script = `export default {
  async fetch(request, { DIRECTORY }) {
    const read = DIRECTORY.get(["a", "b"], { type: "text", cacheTtl: 30 }).then((values) => [...values], ({ message }) => message);
    return Response.json(await Promise.race([read, scheduler.wait(1_000).then(() => "no answer")]));
  },
};`;
const folder = mkdtempSync(join(tmpdir(), "registry-edge-kv-"));
const { miniflare, openKv, stop } = startMiniflare({
  config: await readWorkerConfig(),
  script,
  kvScript: await bundleWorker(`${root}src/local/workerd/kv-worker.ts`),
  vars: {},
  port: 0,
  persistencePath: folder,
  onLogLine: () => {},
});
const { origin } = await miniflare.unsafeGetDirectURL();
const kv = await openKv();
await kv.put("a", "1", {});
afterAll(async () => {
  await stop();
  rmSync(folder, { recursive: true, force: true });
});

const read = async (): Promise<unknown> => (await fetch(origin)).json();
const values = [
  ["a", "1"],
  ["b", null],
];
const failure = "KV failed: 503 Service Unavailable";

test.each<[KvFault, unknown, number, number]>([
  [{ mode: "none" }, values, 0, 900],
  [{ mode: "fail", share: 1 }, failure, 0, 900],
  [{ mode: "delay", ms: 400, share: 1 }, values, 400, 990],
  [{ mode: "hang", share: 1 }, "no answer", 990, 3_000],
  [{ mode: "none" }, values, 0, 900],
])("KV with the fault %j gives a Worker %j after %i to %i ms", async (fault, expected, leastMs, mostMs) => {
  await kv.setFault(fault);
  const startedAtMs = performance.now();
  expect(await read()).toEqual(expected);
  const ms = performance.now() - startedAtMs;
  expect(ms).toBeGreaterThan(leastMs - 5);
  expect(ms).toBeLessThan(mostMs);
});

test("a fault of nine tenths of KV's reads lets each tenth read pass", async () => {
  await kv.setFault({ mode: "fail", share: 0.9 });
  const failed: boolean[] = [];
  for (let count = 0; count < 30; count += 1) failed.push((await read()) === failure);
  expect(failed.filter(Boolean)).toHaveLength(27);
  expect(failed.slice(0, 10).filter(Boolean)).toHaveLength(9);
});
