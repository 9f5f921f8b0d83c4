import { chunksOf } from "../lib/collections.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { within } from "../net/within.ts";
import { budgetSpent } from "../refusal.ts";
import { isShared } from "./keys.ts";
import {
  type ChosenBy,
  type Entries,
  type Entry,
  isAging,
  isCurrent,
  type KvCache,
  type Limits,
  lastEntries,
  type MaxAges,
  missTtlMs,
  pay,
  remember,
  remembered,
} from "./kv-cache.ts";
import { patienceMs } from "./kv-health.ts";

/** KV accepts no shorter `cacheTtl`. */
const kvCacheTtlSeconds = 30;
const kvDeadlineMs = 5_000;
/** While KV fails, a request that cannot use older values waits at most this long for KV. */
const failingDeadlineMs = 1_000;
/** While KV is slow, a request uses values that were read at most this long ago. If it has only older values, it waits for KV. */
const maxSlowAgeMs = 5 * 60 * 1_000;
/** KV's own limit for a bulk read. */
const maxBulkKeys = 100;

export type BulkKv = {
  get(keys: string[], options: { type: "text"; cacheTtl: number }): Promise<Map<string, string | null>>;
};

/** Writes to KV. The Worker writes only one thing: the results of its checks of the stores. */
export type KvWriter = { put(key: string, value: string): Promise<void> };

export type KvTrace = { kvReads: number; kvKeys: number; kvFailure?: string };

export type KvValues = {
  readonly textOf: (key: string) => string | null;
  /** Null if KV works. Otherwise some of these values may be out of date, and this text says what is wrong with KV. */
  readonly stale: string | null;
  /** The keys that were not read, because `maxNewKeys` or `maxReadKeys` allowed no more. */
  readonly unread: ReadonlySet<string>;
  /** Who chose these keys. Null if all of the keys were already in the cache's `kept`: then none has to be moved there. */
  readonly chosenBy: ChosenBy | null;
};

export type ReadOptions = MaxAges & {
  /**
   * Who chose the keys. Pass a function if this takes work, such as the check of a token. The function is called only if a key has no current value
   * in the cache's `kept`, or if KV's last answer was a failure.
   */
  readonly chosenBy?: ChosenBy | (() => Promise<ChosenBy>);
  /** The read takes at most this many keys that are not yet in the cache's `kept`. */
  readonly maxNewKeys?: number;
  /**
   * The read takes at most this many keys from KV, besides those that every request needs. A key above this limit gets its value from the cache's
   * `kept`, as if the read had no {@link MaxAges}. If there is no such value, the key is in `unread`.
   */
  readonly maxReadKeys?: number;
  /** The read waits for KV and fails if KV fails, even if there are older values. */
  readonly mustBeCurrent?: boolean;
  /** The caller can do without the values. So the read does not wait long for a slow KV, and fails if there are no older values. */
  readonly isDispensable?: boolean;
};

export type ReadKv = (keys: readonly string[], options?: ReadOptions) => Promise<Result<KvValues, string>>;

const noKeys: ReadonlySet<string> = new Set();

export const freshValues = (texts: ReadonlyMap<string, string | null>): KvValues => ({
  textOf: (key) => texts.get(key) ?? null,
  stale: null,
  unread: noKeys,
  chosenBy: null,
});

type KvPorts = {
  readonly kv: BulkKv;
  readonly cache: KvCache;
  readonly now: () => Date;
  readonly trace: KvTrace;
  /** Keeps a read going after its request was answered from memory. */
  readonly waitUntil: (read: Promise<unknown>) => void;
};

/** Reads keys through the isolate's cache. All keys that the cache lacks are read at once, mostly by one bulk read. */
export function createReadKv(ports: KvPorts): ReadKv {
  return async (keys, options = {}) => {
    const limits = { ...options, nowMs: ports.now().getTime() };
    const kept = keptValues(ports.cache, keys, limits);
    if (kept !== null) {
      readAhead(ports, keys, limits);
      return ok(kept);
    }
    const { chosenBy = "directory" } = options;
    return readMissing(ports, keys, {
      ...options,
      chosenBy: typeof chosenBy === "function" ? await chosenBy() : chosenBy,
    });
  };
}

type ChosenOptions = Omit<ReadOptions, "chosenBy"> & { readonly chosenBy: ChosenBy };

async function readMissing(
  ports: KvPorts,
  keys: readonly string[],
  options: ChosenOptions,
): Promise<Result<KvValues, string>> {
  const { cache, now, trace } = ports;
  const { chosenBy } = options;
  const nowMs = now().getTime();
  const { found, due, unread, charged } = sortKeys(cache, keys, { ...options, nowMs });
  if (charged > 0 && !pay(cache, chosenBy, { keys: charged, nowMs })) {
    return chosenBy === "claim" ? ok(freshValues(new Map())) : err(budgetSpent);
  }
  const noneRead: Refreshed = { entries: new Map(), stale: cache.health.failure(nowMs) };
  const read = due.length === 0 ? ok(noneRead) : await refresh(ports, due, options);
  if (!read.ok) return read;
  const { entries, stale } = read.value;
  for (const [key, entry] of entries) found.set(key, entry);
  for (const [key, entry] of found) remember(cache, { key, entry, chosenBy });
  if (stale !== null) trace.kvFailure = stale;
  return ok({ textOf: (key) => found.get(key)?.text ?? null, stale, unread, chosenBy });
}

type SortedKeys = {
  readonly found: Map<string, Entry>;
  readonly due: readonly string[];
  readonly unread: ReadonlySet<string>;
  /** How many look-ups the budget of {@link ChosenBy} pays for. Each key in `due` costs one, unless it is shared or has an entry in `kept`. */
  readonly charged: number;
};

/** Decides for each key: its value is in memory, it must be read from KV, or it is left out because of a limit. */
function sortKeys(
  cache: KvCache,
  keys: readonly string[],
  {
    nowMs,
    maxNewKeys = unlimited,
    maxReadKeys = unlimited,
    mustBeCurrent = false,
    ...maxAges
  }: ChosenOptions & { readonly nowMs: number },
): SortedKeys {
  // While KV answers, a write may use current values from memory. If KV's last answer was a failure, a write must read KV again, and is refused if
  // this read fails too.
  const isDoubted = mustBeCurrent && cache.health.failure(nowMs) !== null;
  const found = new Map<string, Entry>();
  const missing = new Set<string>();
  const added = new Set<string>();
  const rechecked = new Map<string, Entry>();
  for (const key of keys) {
    const kept = cache.kept.get(key);
    const entry = kept ?? cache.passing.get(key);
    // A key that only strangers ask for expires as soon with a value as without one. Otherwise, when strangers have spent their budget, only names
    // with an existing prefix would still get an answer.
    const { assignmentMaxAgeMs: maxAgeMs = missTtlMs } = maxAges;
    const ages = kept === undefined ? { ...maxAges, assignmentMaxAgeMs: Math.min(maxAgeMs, missTtlMs) } : maxAges;
    if (!isDoubted && entry !== undefined && isCurrent(key, entry, { nowMs, ...ages })) found.set(key, entry);
    else if (!isDoubted && kept !== undefined && !isShared(key) && isCurrent(key, kept, { nowMs }))
      rechecked.set(key, kept);
    else missing.add(key);
    if (kept === undefined && !isShared(key) && !found.has(key)) added.add(key);
  }
  const unread = new Set([...added].slice(maxNewKeys));
  const wanted = [...missing].filter((key) => !unread.has(key) && !isShared(key));
  for (const key of wanted.splice(maxReadKeys)) unread.add(key);
  for (const [key, entry] of rechecked) {
    if (wanted.length >= maxReadKeys) found.set(key, entry);
    else wanted.push(key);
  }
  const charged = [...added].filter((key) => !unread.has(key)).length;
  return { found, due: [...[...missing].filter(isShared), ...wanted], unread, charged };
}

/** The fast path: reads only from memory. */
function keptValues({ kept, health }: KvCache, keys: readonly string[], limits: Limits): KvValues | null {
  if (health.failure(limits.nowMs) !== null) return null;
  const texts = new Map<string, string | null>();
  for (const key of keys) {
    const entry = kept.get(key);
    if (entry === undefined || !isCurrent(key, entry, limits)) return null;
    texts.set(key, entry.text);
  }
  return freshValues(texts);
}

/** Entries that expire soon are read again in the background, so that no later request has to wait for KV. */
function readAhead(ports: KvPorts, keys: readonly string[], limits: Limits): void {
  const { cache, now, waitUntil } = ports;
  const { nowMs } = limits;
  const aging = keys.filter((key) => {
    const entry = cache.kept.get(key);
    return entry !== undefined && isAging(key, entry, limits) && !isAsked(entry, nowMs);
  });
  if (aging.length === 0) return;
  const reading = readAll(ports, aging, "directory");
  const watched = within(reading, patienceMs).then((read) => {
    if (read === "late") cache.health.noteSlow(nowMs, now().getTime());
    return reading;
  });
  waitUntil(watched);
}

const unlimited = Number.POSITIVE_INFINITY;

type Refreshed = { readonly entries: Entries; readonly stale: string | null };

/**
 * Reads keys whose values are not current:
 * - A request without usable older values waits for KV.
 * - A request with older values waits only `patienceMs` for KV, or not at all if KV is known to be slow. Then it uses the older values, and the read
 *   goes on in the background. A request that can do without the values does the same, and fails if there are no older ones.
 * - While KV fails, only a few requests read KV. All others use their older values, or fail if they have none.
 */
async function refresh(
  ports: KvPorts,
  keys: readonly string[],
  { chosenBy, mustBeCurrent = false, isDispensable = false }: ChosenOptions,
): Promise<Result<Refreshed, string>> {
  const { cache, now, waitUntil } = ports;
  const { health } = cache;
  const nowMs = now().getTime();
  const failure = health.failure(nowMs);
  const last = mustBeCurrent ? null : lastEntries(cache, keys, nowMs);
  const useLast = (why: string): Result<Refreshed, string> =>
    last === null ? err(why) : ok({ entries: last, stale: why });
  if (failure !== null && !health.takeRead(nowMs, last === null)) return useLast(failure);
  const isUsable = last !== null && (failure !== null || isRecent(last, nowMs));
  const isHasty = isUsable || isDispensable;
  const isBehind = isHasty && health.isSlow(nowMs);
  // While KV is slow, we leave out the keys that are being read already. While KV fails, we read these too: the earlier read may never end.
  const asked = isBehind && failure === null ? keys.filter((key) => !isAsked(last?.get(key), nowMs)) : keys;
  const reading = readAll(ports, asked, chosenBy);
  waitUntil(reading);
  if (isBehind) return useLast(failure ?? slow);
  const waitMs = isHasty ? patienceMs : failure === null ? unlimited : failingDeadlineMs;
  const read = waitMs === unlimited ? await reading : await within(reading, waitMs);
  if (read === "late") {
    // A slow first read of a key does not mean that KV is slow, because KV may have the key only far away.
    if (last !== null || failure !== null) health.noteSlow(nowMs, now().getTime());
    return useLast(failure ?? slow);
  }
  return read.ok ? ok({ entries: read.value, stale: null }) : useLast(read.error);
}

const slow = `KV did not answer within ${patienceMs} ms`;

const isRecent = (entries: Entries, nowMs: number): boolean =>
  [...entries.values()].every(({ readAtMs }) => readAtMs + maxSlowAgeMs >= nowMs);

/** Whether an earlier read of this key still waits for KV's answer. */
const isAsked = (entry: Entry | undefined, nowMs: number): boolean =>
  entry !== undefined && entry.askedAtMs > entry.readAtMs && entry.askedAtMs + kvDeadlineMs > nowMs;

/** Reads keys from KV and remembers the values, even if the request has been answered in the meantime. */
async function readAll(
  { kv, cache, now, trace }: KvPorts,
  keys: readonly string[],
  chosenBy: ChosenBy,
): Promise<Result<Entries, string>> {
  const startedAtMs = now().getTime();
  const known = keys.flatMap((key) => remembered(cache, key) ?? []);
  for (const entry of known) entry.askedAtMs = startedAtMs;
  const bulks = chunksOf(keys, maxBulkKeys);
  trace.kvReads += bulks.length;
  trace.kvKeys += keys.length;
  const reads = await Promise.all(bulks.map((bulk) => readBulk(kv, bulk)));
  const failed = reads.find((read) => !read.ok);
  if (reads.length > 0) {
    const failure = failed?.error ?? null;
    const isRepeated = known.length === keys.length;
    cache.health.noteEnd({ startedAtMs, endedAtMs: now().getTime(), failure, isRepeated });
  }
  const entries = new Map<string, Entry>();
  for (const read of reads) {
    for (const [key, text] of read.ok ? read.value : []) {
      const entry = newerEntry(remembered(cache, key), { text, readAtMs: startedAtMs, askedAtMs: startedAtMs });
      entries.set(key, entry);
      remember(cache, { key, entry, chosenBy });
    }
  }
  return failed ?? ok(entries);
}

/** Returns the entry whose read began later, because a slow read may end after a newer one. */
function newerEntry(known: Entry | undefined, read: Entry): Entry {
  if (known === undefined) return read;
  if (known.readAtMs > read.readAtMs) return known;
  // If the text has not changed, we keep the old string object. Each request compares this text with the text of the parsed record. For 200 KB of
  // CIDRs that takes 7 µs, but no time if both are the same object.
  return known.text === read.text ? { ...read, text: known.text } : read;
}

async function readBulk(kv: BulkKv, keys: string[]): Promise<Result<ReadonlyMap<string, string | null>, string>> {
  try {
    const values = await within(kv.get(keys, { type: "text", cacheTtl: kvCacheTtlSeconds }), kvDeadlineMs);
    if (values === "late") return err(`KV did not answer within ${kvDeadlineMs} ms`);
    return ok(new Map(keys.map((key) => [key, values.get(key) ?? null])));
  } catch (error) {
    return err(`KV read failed: ${error instanceof Error ? error.message : "unknown error"}`);
  }
}
