import { createDirectory, type Directory } from "../../src/directory/directory.ts";
import { type BulkKv, createKvCache, createReadKv, type KvTrace } from "../../src/directory/kv.ts";
import type { PlainHttp } from "../../src/lib/host.ts";

/** The directory as one isolate of the Worker has it: what it remembers of KV, its clock, and what it has read. */
export type Isolate = {
  nowMs: number;
  readonly trace: KvTrace;
  readonly directory: (plainHttp?: PlainHttp) => Directory;
};

export function startIsolate(kv: BulkKv): Isolate {
  const cache = createKvCache();
  const isolate: Isolate = {
    nowMs: Date.now(),
    trace: { kvReads: 0 },
    directory: (plainHttp = "nowhere") =>
      createDirectory(
        createReadKv(kv, cache, () => new Date(isolate.nowMs), isolate.trace),
        plainHttp,
      ),
  };
  return isolate;
}
