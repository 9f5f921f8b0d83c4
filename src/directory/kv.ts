import { type BoundedMap, chunksOf } from "../lib/collections.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { within } from "../net/within.ts";
import { blocksKey, directoryKey, kindOf } from "./keys.ts";

/** A KV value as this isolate last read it; null means that KV had no value. Expired entries are kept, because they are used while KV fails. */
type Entry = {
  readonly text: string | null;
  readonly readAtMs: number;
  readonly expiresAtMs: number;
  /** Why KV gave nothing newer; null after a read that succeeded. */
  readonly kvFailure: string | null;
};

/** What one isolate remembers of KV between requests: values, never promises, because the promise of a cancelled request never settles. */
export type KvCache = {
  /** What the directory and known users chose. It serves them while KV fails, so nothing that a stranger asks for is put here. */
  readonly kept: BoundedMap<string, Entry>;
  /** What only strangers or Pods chose. It holds at least what the strangers' budget lets them read before it expires. */
  readonly passing: BoundedMap<string, Entry>;
  readonly claims: LookupBudget;
  readonly names: LookupBudget;
};

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
const budgetWindowMs = 10_000;
/** How many keys may be looked up in each window of 10 seconds; the isolate's requests share it. */
export class LookupBudget {
  readonly #most: number;
  #windowEndsAtMs = 0;
  #taken = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** False when the window's share is spent. */
  take(keys: number, nowMs: number): boolean {
    if (nowMs >= this.#windowEndsAtMs) {
      this.#windowEndsAtMs = nowMs + budgetWindowMs;
      this.#taken = 0;
    }
    if (this.#taken + keys > this.#most) return false;
    this.#taken += keys;
    return true;
  }
}

/** The one call of Workers KV that the Worker makes. */
export type BulkKv = {
  get(keys: string[], options: { type: "text"; cacheTtl: number }): Promise<Map<string, string | null>>;
};

/** What a request cost of KV, for its log line. */
export type KvTrace = { kvReads: number; kvKeys: number; kvFailure?: string };

export type KvValues = {
  readonly textOf: (key: string) => string | null;
  /** Why KV did not answer, if some of these values are older ones that were used instead. */
  readonly stale: string | null;
  /** These keys were left out, because there were more than `maxNewKeys`. */
  readonly unread: ReadonlySet<string>;
};

/**
 * Who chose the keys. `directory`: the directory itself, or a user whose token allows what the keys are about. `stranger`: a name that anyone may ask for.
 * `pod`: a name that a Pod lists, which may be made up. `claim`: what a token says about itself. Keys of strangers and claims count against a budget if no
 * known user chose them before. When it is spent, the read of a name fails, and a claim reads as absent: another answer would tell a name that has a Pod from
 * one that has none.
 */
export type ChosenBy = "directory" | "stranger" | "pod" | "claim";

export type ReadOptions = {
  readonly chosenBy?: ChosenBy;
  /** How many keys may be read that no known user chose before. */
  readonly maxNewKeys?: number;
  /** An assignment that was read longer ago is read again, unless KV fails. */
  readonly assignmentMaxAgeMs?: number;
  /** The same for the directory record. */
  readonly directoryMaxAgeMs?: number;
};

export type ReadKv = (keys: readonly string[], options?: ReadOptions) => Promise<Result<KvValues, string>>;

/** Values that were all read just now. */
export const freshValues = (texts: ReadonlyMap<string, string | null>): KvValues => ({
  textOf: (key) => texts.get(key) ?? null,
  stale: null,
  unread: new Set(),
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
    trace.kvKeys += keys.length;
    const read = await readEntries({ kv, cache }, keys, nowMs);
    return read.ok ? read : lastEntries(cache, keys, { nowMs, kvFailure: read.error });
  };
  return async (keys, options = {}) => {
    const nowMs = now().getTime();
    const kept = keptValues(cache, keys, { nowMs, ...options });
    if (kept !== null) return ok(kept);
    const { chosenBy = "directory", maxNewKeys = unlimited, ...maxAges } = options;
    const found = new Map<string, Entry>();
    const missing = new Set<string>();
    const added = new Set<string>();
    for (const key of keys) {
      const kept = cache.kept.get(key);
      const entry = kept ?? cache.passing.get(key);
      if (entry !== undefined && isCurrent(key, entry, { nowMs, ...maxAges })) found.set(key, entry);
      else missing.add(key);
      if (kept === undefined && !isShared(key) && !found.has(key)) added.add(key);
    }
    const unread = new Set([...added].slice(maxNewKeys));
    const charged = chosenBy === "directory" || chosenBy === "pod" ? 0 : added.size - unread.size;
    if (charged > 0 && !cache[chosenBy === "claim" ? "claims" : "names"].take(charged, nowMs)) {
      return chosenBy === "claim" ? ok(freshValues(new Map())) : err(budgetSpent);
    }
    const bulks = chunksOf(
      [...missing].filter((key) => !unread.has(key)),
      maxBulkKeys,
    );
    for (const entries of await Promise.all(bulks.map((bulk) => readBulk(bulk, nowMs)))) {
      if (!entries.ok) return entries;
      for (const [key, entry] of entries.value) found.set(key, entry);
    }
    for (const [key, entry] of found) remember(cache, { key, entry, chosenBy });
    const stale = [...found.values()].find(({ kvFailure }) => kvFailure !== null)?.kvFailure ?? null;
    if (stale !== null) trace.kvFailure = stale;
    return ok({ textOf: (key) => found.get(key)?.text ?? null, stale, unread });
  };
}

/** The values of a warm request: what known users chose, all of it read lately from a KV that answered. */
function keptValues(
  { kept }: KvCache,
  keys: readonly string[],
  limits: { readonly nowMs: number } & MaxAges,
): KvValues | null {
  const texts = new Map<string, string | null>();
  for (const key of keys) {
    const entry = kept.get(key);
    if (entry === undefined || entry.kvFailure !== null || !isCurrent(key, entry, limits)) return null;
    texts.set(key, entry.text);
  }
  return freshValues(texts);
}

const unlimited = Number.POSITIVE_INFINITY;
const budgetSpent = "more names were asked for than strangers may have looked up in 10 seconds";

const remembered = ({ kept, passing }: KvCache, key: string): Entry | undefined => kept.get(key) ?? passing.get(key);

/** Every request needs these keys, so they count as chosen by the directory. */
const isShared = (key: string): boolean => key === directoryKey || key === blocksKey;

/** A key that known users chose once stays with theirs. */
function remember(
  { kept, passing }: KvCache,
  { key, entry, chosenBy }: { readonly key: string; readonly entry: Entry; readonly chosenBy: ChosenBy },
): void {
  const isWanted = chosenBy === "directory" || isShared(key);
  const cache = isWanted || kept.get(key) !== undefined ? kept : passing;
  if (cache.get(key) !== entry) cache.set(key, entry);
}

type Entries = ReadonlyMap<string, Entry>;
type MaxAges = Pick<ReadOptions, "assignmentMaxAgeMs" | "directoryMaxAgeMs">;

function isCurrent(
  key: string,
  { readAtMs, expiresAtMs, kvFailure }: Entry,
  { nowMs, assignmentMaxAgeMs = unlimited, directoryMaxAgeMs = unlimited }: { readonly nowMs: number } & MaxAges,
): boolean {
  if (expiresAtMs <= nowMs) return false;
  if (kvFailure !== null) return true;
  if (key === directoryKey) return readAtMs + directoryMaxAgeMs >= nowMs;
  return kindOf(key) !== "route" || readAtMs + assignmentMaxAgeMs >= nowMs;
}

async function readEntries(
  { kv, cache }: Pick<KvPorts, "kv" | "cache">,
  keys: string[],
  nowMs: number,
): Promise<Result<Entries, string>> {
  try {
    const values = await within(kv.get(keys, { type: "text", cacheTtl: kvCacheTtlSeconds }), kvDeadlineMs);
    if (values === "late") return err(`KV did not answer within ${kvDeadlineMs} ms`);
    const entry = (key: string): Entry => {
      const text = values.get(key) ?? null;
      const known = remembered(cache, key)?.text ?? null;
      return {
        // Parsed records are found by their text, and 200 KB of CIDRs take 7 µs to compare unless they are the same string.
        text: known === text ? known : text,
        readAtMs: nowMs,
        expiresAtMs: nowMs + (text === null ? missTtlMs : hitTtlMs),
        kvFailure: null,
      };
    };
    return ok(new Map(keys.map((key) => [key, entry(key)])));
  } catch (error) {
    return err(`KV read failed: ${error instanceof Error ? error.message : "unknown error"}`);
  }
}

/** All of the keys as they were read last, or why KV gave none, because a part of them would be a guess. */
function lastEntries(
  cache: KvCache,
  keys: readonly string[],
  { nowMs, kvFailure }: { readonly nowMs: number; readonly kvFailure: string },
): Result<Entries, string> {
  const entries = new Map<string, Entry>();
  for (const key of keys) {
    const last = remembered(cache, key);
    if (last === undefined || last.readAtMs + maxOutdatedMs < nowMs) return err(kvFailure);
    entries.set(key, { ...last, expiresAtMs: nowMs + outdatedTtlMs, kvFailure });
  }
  return ok(entries);
}
