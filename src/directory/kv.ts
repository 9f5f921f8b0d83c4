import { type BoundedMap, chunksOf } from "../lib/collections.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { within } from "../net/within.ts";
import { directoryKey, kindOf } from "./keys.ts";

/** A KV value as this isolate last read it; null means that KV had no value. Expired entries are kept, because they are used while KV fails. */
type Entry = {
  readonly text: string | null;
  readonly readAtMs: number;
  readonly expiresAtMs: number;
  /** Why KV gave nothing newer; null after a read that succeeded. */
  readonly kvFailure: string | null;
};

/** What one isolate remembers of KV between requests: values, never promises, because the promise of a cancelled request never settles. */
export type KvCache = { readonly entries: BoundedMap<string, Entry>; readonly strangers: LookupBudget };

/** This is added to KV's own delay, so a change is seen after both together. */
const hitTtlMs = 30_000;
/** A miss is shorter, because a name that was just assigned must not wait as long as one that was moved. */
const missTtlMs = 15_000;
/** While KV fails it is asked again only after this time; otherwise every request would wait until the deadline. */
const outdatedTtlMs = 15_000;
/** What was read longer ago is not used, even while KV fails. */
const maxOutdatedMs = 24 * 60 * 60 * 1_000;
/** KV's own minimum. */
const kvCacheTtlSeconds = 30;
const kvDeadlineMs = 5_000;
/** KV's own bound on a bulk read. */
const maxBulkKeys = 100;
/** An isolate itself needs a handful: a rotated key, a Pod just added. What strangers make up has no end. */
const maxStrangerReads = 50;
const strangerWindowMs = 10_000;

/** How many KV reads strangers may cause in each window of time; the isolate's requests share it. */
export class LookupBudget {
  #windowEndsAtMs = 0;
  #taken = 0;

  /** False when the window's share is spent. */
  take(nowMs: number): boolean {
    if (nowMs >= this.#windowEndsAtMs) {
      this.#windowEndsAtMs = nowMs + strangerWindowMs;
      this.#taken = 0;
    }
    this.#taken += 1;
    return this.#taken <= maxStrangerReads;
  }
}

/** The one call of Workers KV that the Worker makes. */
export type BulkKv = {
  get(keys: string[], options: { type: "text"; cacheTtl: number }): Promise<Map<string, string | null>>;
};

/** What a request cost of KV, for its log line. */
export type KvTrace = { kvReads: number; kvFailure?: string };

export type KvValues = {
  readonly textOf: (key: string) => string | null;
  /** Why KV did not answer, if some of these values are older ones that were used instead. */
  readonly stale: string | null;
};

export type ReadOptions = {
  /** A stranger chose keys that are made from what a token says about itself. Beyond the budget for those, they read as absent. */
  readonly chosenBy?: "directory" | "stranger";
  /** An assignment, or the depth of all assignments, that was read longer ago is read again, unless KV fails. */
  readonly assignmentMaxAgeMs?: number;
};

export type ReadKv = (keys: readonly string[], options?: ReadOptions) => Promise<Result<KvValues, string>>;

/** Values that were all read just now. */
export const freshValues = (texts: ReadonlyMap<string, string | null>): KvValues => ({
  textOf: (key) => texts.get(key) ?? null,
  stale: null,
});

type KvPorts = {
  readonly kv: BulkKv;
  readonly cache: KvCache;
  readonly now: () => Date;
  readonly trace: KvTrace;
};

/** Reads through the isolate's cache. The keys that it lacks come by bulk reads at once, mostly one; no read is made if it has them all. */
export function createReadKv({ kv, cache, now, trace }: KvPorts): ReadKv {
  const readBulk = async (keys: string[], nowMs: number): Promise<Result<Entries, string>> => {
    trace.kvReads += 1;
    const read = await readEntries(kv, keys, nowMs);
    const entries = read.ok ? read : lastEntries(cache, keys, { nowMs, kvFailure: read.error });
    if (entries.ok) for (const [key, entry] of entries.value) cache.entries.set(key, entry);
    return entries;
  };
  return async (keys, { chosenBy = "directory", assignmentMaxAgeMs = Number.POSITIVE_INFINITY } = {}) => {
    const nowMs = now().getTime();
    const found = new Map<string, Entry>();
    for (const key of keys) {
      const entry = cache.entries.get(key);
      if (entry !== undefined && isCurrent(key, entry, { nowMs, assignmentMaxAgeMs })) found.set(key, entry);
    }
    const missing = [...new Set(keys)].filter((key) => !found.has(key));
    const mayRead = missing.length > 0 && (chosenBy === "directory" || cache.strangers.take(nowMs));
    const bulks = mayRead ? chunksOf(missing, maxBulkKeys) : [];
    for (const entries of await Promise.all(bulks.map((bulk) => readBulk(bulk, nowMs)))) {
      if (!entries.ok) return entries;
      for (const [key, entry] of entries.value) found.set(key, entry);
    }
    const stale = [...found.values()].find(({ kvFailure }) => kvFailure !== null)?.kvFailure ?? null;
    if (stale !== null) trace.kvFailure = stale;
    return ok({ textOf: (key) => found.get(key)?.text ?? null, stale });
  };
}

type Entries = ReadonlyMap<string, Entry>;

function isCurrent(
  key: string,
  { readAtMs, expiresAtMs, kvFailure }: Entry,
  { nowMs, assignmentMaxAgeMs }: { readonly nowMs: number; readonly assignmentMaxAgeMs: number },
): boolean {
  if (expiresAtMs <= nowMs) return false;
  const isAssignment = key === directoryKey || kindOf(key) === "route";
  return !isAssignment || kvFailure !== null || readAtMs + assignmentMaxAgeMs >= nowMs;
}

async function readEntries(kv: BulkKv, keys: string[], nowMs: number): Promise<Result<Entries, string>> {
  try {
    const values = await within(kv.get(keys, { type: "text", cacheTtl: kvCacheTtlSeconds }), kvDeadlineMs);
    if (values === "late") return err(`KV did not answer within ${kvDeadlineMs} ms`);
    const entry = (text: string | null): Entry => ({
      text,
      readAtMs: nowMs,
      expiresAtMs: nowMs + (text === null ? missTtlMs : hitTtlMs),
      kvFailure: null,
    });
    return ok(new Map(keys.map((key) => [key, entry(values.get(key) ?? null)])));
  } catch (error) {
    return err(`KV read failed: ${error instanceof Error ? error.message : "unknown error"}`);
  }
}

/** All of the keys as they were read last, or why KV gave none, because a part of them would be a guess. */
function lastEntries(
  { entries: known }: KvCache,
  keys: readonly string[],
  { nowMs, kvFailure }: { readonly nowMs: number; readonly kvFailure: string },
): Result<Entries, string> {
  const entries = new Map<string, Entry>();
  for (const key of keys) {
    const last = known.get(key);
    if (last === undefined || last.readAtMs + maxOutdatedMs < nowMs) return err(kvFailure);
    entries.set(key, { ...last, expiresAtMs: nowMs + outdatedTtlMs, kvFailure });
  }
  return ok(entries);
}
