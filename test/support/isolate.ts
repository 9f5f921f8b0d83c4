import type { TokenMemory } from "../../src/auth/verify.ts";
import { createDirectory, type Directory } from "../../src/directory/directory.ts";
import { type BulkKv, createReadKv, type KvTrace } from "../../src/directory/kv.ts";
import { createIsolate } from "../../src/isolate.ts";
import type { PlainHttp } from "../../src/lib/address.ts";

/** The directory as one isolate of the Worker has it: what it remembers of KV, its clock, and what it has read. */
export type Isolate = {
  nowMs: number;
  readonly trace: KvTrace;
  readonly tokens: TokenMemory;
  readonly directory: (plainHttp?: PlainHttp) => Directory;
};

export function startIsolate(kv: BulkKv): Isolate {
  const memory = createIsolate();
  const isolate: Isolate = {
    nowMs: Date.now(),
    trace: { kvReads: 0 },
    tokens: memory.tokens,
    directory: (plainHttp = "nowhere") =>
      createDirectory({
        readKv: createReadKv({ kv, cache: memory.kv, now: () => new Date(isolate.nowMs), trace: isolate.trace }),
        plainHttp,
        parsedPods: memory.parsedPods,
      }),
  };
  return isolate;
}
