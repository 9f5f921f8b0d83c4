import { BoundedMap, chunksOf } from "../lib/collections.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { within } from "../net/within.ts";
import { kindOf } from "./keys.ts";
import { LookupBudget } from "./lookup-budget.ts";

/** A KV value as this isolate last read it; null says that KV had none. Expired ones stay, for when KV fails. */
type Entry = {
  readonly text: string | null;
  readonly readAtMs: number;
  readonly expiresAtMs: number;
  /** Why KV gave nothing newer. */
  readonly kvFailure?: string;
};

/** What one isolate remembers of KV between requests: values, never promises (a cancelled request's promise never settles). */
type KvCache = { readonly entries: BoundedMap<string, Entry>; readonly strangers: LookupBudget };

/** Added to KV's own delay, so a change shows within both together. */
const hitTtlMs = 30_000;
/** Shorter: a name just assigned must not wait as long as one just moved. */
const missTtlMs = 15_000;
/** While KV fails it is asked again only after this: else every request would wait until the deadline. */
const outdatedTtlMs = 15_000;
/** What was read longer ago is not served even then. */
const maxOutdatedMs = 24 * 60 * 60 * 1_000;
/** About 40 keys a cold name; at 300 bytes a value this stays under 10 MB. */
const maxEntries = 20_000;
/** KV's own minimum. */
const kvCacheTtlSeconds = 30;
const kvDeadlineMs = 5_000;
/** KV's own bound on a bulk read. */
const maxBulkKeys = 100;

export const createKvCache = (): KvCache => ({ entries: new BoundedMap(maxEntries), strangers: new LookupBudget() });

/** The one call of Workers KV that the Worker makes. */
export type BulkKv = {
  get(keys: string[], options: { type: "text"; cacheTtl: number }): Promise<Map<string, string | null>>;
};

/** What a request cost of KV, counted as it goes; and why KV gave no answer, where older values were served instead. */
export type KvTrace = { kvReads: number; kvFailure?: string };

/** `chosenBy` a stranger: keys made from what a token says of itself. Beyond the budget for those, they read as absent. */
export type ReadKv = (
  keys: readonly string[],
  chosenBy?: "directory" | "stranger",
) => Promise<Result<ReadonlyMap<string, string | null>, string>>;

/**
 * Reads through the isolate's cache: what is not there comes by bulk reads at once, mostly one, and none is made when all is. An
 * assignment that was read longer than `routeMaxAgeMs` ago is read again, unless KV fails.
 */
export function createReadKv(
  kv: BulkKv,
  cache: KvCache,
  now: () => Date,
  trace: KvTrace,
  routeMaxAgeMs = Number.POSITIVE_INFINITY,
): ReadKv {
  const isTooOld = (key: string, { readAtMs, kvFailure }: Entry, nowMs: number) =>
    kindOf(key) === "route" && readAtMs + routeMaxAgeMs < nowMs && kvFailure === undefined;
  const readBulk = async (keys: string[], nowMs: number): Promise<Result<Entries, string>> => {
    trace.kvReads += 1;
    const read = await readEntries(kv, keys, nowMs);
    const entries = read.ok ? read : lastEntries(cache, keys, nowMs, read.error);
    if (entries.ok) for (const [key, entry] of entries.value) cache.entries.set(key, entry);
    return entries;
  };
  return async (keys, chosenBy = "directory") => {
    const nowMs = now().getTime();
    const values = new Map<string, string | null>();
    const use = (key: string, { text, kvFailure }: Entry) => {
      values.set(key, text);
      if (kvFailure !== undefined) trace.kvFailure = kvFailure;
    };
    for (const key of keys) {
      const entry = cache.entries.get(key);
      if (entry !== undefined && entry.expiresAtMs > nowMs && !isTooOld(key, entry, nowMs)) use(key, entry);
    }
    const missing = [...new Set(keys)].filter((key) => !values.has(key));
    if (missing.length === 0) return ok(values);
    if (chosenBy === "stranger" && !cache.strangers.take(nowMs)) return ok(values);
    const bulks = chunksOf(missing, maxBulkKeys);
    for (const entries of await Promise.all(bulks.map((bulk) => readBulk(bulk, nowMs)))) {
      if (!entries.ok) return entries;
      for (const [key, entry] of entries.value) use(key, entry);
    }
    return ok(values);
  };
}

type Entries = ReadonlyMap<string, Entry>;

async function readEntries(kv: BulkKv, keys: string[], nowMs: number): Promise<Result<Entries, string>> {
  try {
    const values = await within(kv.get(keys, { type: "text", cacheTtl: kvCacheTtlSeconds }), kvDeadlineMs);
    if (values === "late") return err(`KV did not answer within ${kvDeadlineMs} ms`);
    const entry = (text: string | null): Entry => ({
      text,
      readAtMs: nowMs,
      expiresAtMs: nowMs + (text === null ? missTtlMs : hitTtlMs),
    });
    return ok(new Map(keys.map((key) => [key, entry(values.get(key) ?? null)])));
  } catch (error) {
    return err(`KV read failed: ${error instanceof Error ? error.message : "unknown error"}`);
  }
}

/**
 * All of them as they were read last, or why KV gave none: a part would be a guess. Only a block that was never asked for is taken for none, for
 * else the first new digest would stop the pull of a known name.
 */
function lastEntries(
  cache: KvCache,
  keys: readonly string[],
  nowMs: number,
  kvFailure: string,
): Result<Entries, string> {
  const entries = new Map<string, Entry>();
  for (const key of keys) {
    const neverSeen = kindOf(key) === "block" ? { text: null, readAtMs: nowMs } : null;
    const last = cache.entries.get(key) ?? neverSeen;
    if (last === null || last.readAtMs + maxOutdatedMs < nowMs) return err(kvFailure);
    entries.set(key, { ...last, expiresAtMs: nowMs + outdatedTtlMs, kvFailure });
  }
  return ok(entries);
}
