import { beforeEach, expect, test } from "vitest";
import type { BulkKv } from "../../src/directory/kv.ts";
import { resolvePod } from "../../src/directory/resolve.ts";
import { parseRepositoryName } from "../../src/oci/repository-name.ts";
import { type Isolate, startIsolate } from "../support/isolate.ts";

const services = { registry: "https://a.test", token: "https://a.test/jwt/auth" };
const stored = new Map<string, unknown>();

/** As Workers KV at one location, repeats the first answer for a key until `cacheTtl` is over, even if the key had no value. */
function locationKv(nowMs: () => number): BulkKv {
  const cached = new Map<string, { readonly text: string | null; readonly untilMs: number }>();
  const get = (key: string, ttlMs: number): string | null => {
    const known = cached.get(key);
    if (known !== undefined && known.untilMs > nowMs()) return known.text;
    const text = stored.has(key) ? JSON.stringify(stored.get(key)) : null;
    cached.set(key, { text, untilMs: nowMs() + ttlMs });
    return text;
  };
  return { get: async (keys, { cacheTtl }) => new Map(keys.map((key) => [key, get(key, cacheTtl * 1_000)])) };
}

beforeEach(() => {
  stored.clear();
  stored.set("directory", { v: 1, revision: 1, pods: ["pod-a"], default: "pod-a", depth: 1 });
  stored.set("pod/pod-a", { v: 1, revision: 1, state: "active", ...services, issuer: "i", audience: "a", keys: [] });
});

async function blockOf(isolate: Isolate, text: string): Promise<string | null> {
  const name = parseRepositoryName(text);
  if (!name.ok) throw new Error(name.error);
  const resolution = await resolvePod(isolate.directory(), { name: name.value });
  if (!resolution.ok) throw new Error(resolution.error.text);
  return resolution.value.blocked;
}

/** Writes the block, and returns the time from then until the last moment at which any isolate still served the blocked name. */
async function servedMs(isolatesStartMs: readonly number[], writtenAtMs: number): Promise<number> {
  const startMs = Date.now();
  let nowMs = startMs;
  const kv = locationKv(() => nowMs);
  const isolates = new Map<number, Isolate>();
  let lastServedMs = 0;
  for (let ms = 0; ms <= writtenAtMs + 120_000; ms += 500) {
    nowMs = startMs + ms;
    if (ms === writtenAtMs) stored.set("blocks", { v: 1, revision: 2, blocks: { "acme/leaked": "leaked" } });
    for (const at of isolatesStartMs) {
      if (ms < at) continue;
      const isolate = isolates.get(at) ?? startIsolate(kv);
      isolates.set(at, isolate);
      isolate.nowMs = nowMs;
      if ((await blockOf(isolate, "acme/leaked/app")) === null && ms > writtenAtMs) lastServedMs = ms - writtenAtMs;
    }
  }
  return lastServedMs;
}

test.each([
  ["the first block", false],
  ["one more block", true],
])(
  "%s holds within 60 seconds in every isolate of a location, whenever each of them last read KV",
  async (_, isMore) => {
    for (const writtenAtMs of [500, 14_500, 15_500, 29_500, 30_500]) {
      stored.delete("blocks");
      if (isMore) stored.set("blocks", { v: 1, revision: 1, blocks: { "acme/other": "leaked" } });
      const served = await servedMs([0, 7_000, 14_000, 21_000, 29_000], writtenAtMs);
      expect(served, `written at ${writtenAtMs} ms`).toBeGreaterThan(0);
      expect(served, `written at ${writtenAtMs} ms`).toBeLessThan(60_000);
    }
  },
);
