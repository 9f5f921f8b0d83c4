import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import type { TokenMemory } from "../../src/auth/verify.ts";
import type { Config } from "../../src/config.ts";
import { createDirectory, type Directory } from "../../src/directory/directory.ts";
import { type BulkKv, createReadKv, type KvTrace } from "../../src/directory/kv.ts";
import { createIsolate, type Isolate as Memory } from "../../src/isolate.ts";
import type { PlainHttp } from "../../src/lib/address.ts";

export type Isolate = {
  nowMs: number;
  readonly trace: KvTrace;
  /** The reads that may go on after their request has ended. A test can wait for them. */
  readonly reads: Promise<unknown>[];
  readonly tokens: TokenMemory;
  readonly memory: Memory;
  readonly directory: (plainHttp?: PlainHttp) => Directory;
};

/** A deployment without tokens and without a sealed value, for tests that call the edge's code without a Worker. */
export const openConfig: Config = {
  service: "registry-edge",
  realm: null,
  auth: "none",
  cacheHost: "cache.invalid",
  plainHttp: "nowhere",
  corsOrigins: [],
  sealingKeys: [],
  edgeKeys: [new Uint8Array(32)],
  probeToken: null,
  stallMs: 60_000,
  storeCheckMs: 5_000,
  logSample: 1,
};

export function startIsolate(kv: BulkKv): Isolate {
  const memory = createIsolate();
  const now = () => new Date(isolate.nowMs);
  const waitUntil = (read: Promise<unknown>) => void isolate.reads.push(read);
  const isolate: Isolate = {
    nowMs: Date.now(),
    trace: { kvReads: 0, kvKeys: 0 },
    reads: [],
    tokens: memory.tokens,
    memory,
    directory: (plainHttp = "nowhere") =>
      createDirectory({
        readKv: createReadKv({ kv, cache: memory.kv, now, trace: isolate.trace, waitUntil }),
        now,
        plainHttp,
        parsedPods: memory.parsedPods,
        parsedRecords: memory.parsedRecords,
      }),
  };
  return isolate;
}

type TestKv = BulkKv & {
  put(key: string, value: string): Promise<void>;
  delete(key: string): Promise<void>;
  list(): Promise<{ keys: { name: string }[] }>;
};

export async function startKv(): Promise<{ readonly kv: TestKv; readonly stop: () => Promise<void> }> {
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      modules: true,
      script: "export default { fetch: () => new Response() }",
      compatibilityDate: "2026-10-23",
      kvNamespaces: ["DIRECTORY"],
      cf: false,
    }),
  );
  const kv = (await miniflare.getKVNamespace("DIRECTORY")) as unknown as TestKv;
  return { kv, stop: () => miniflare.dispose() };
}
