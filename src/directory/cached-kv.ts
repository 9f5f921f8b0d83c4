import { BoundedMap } from "../lib/bounded-map.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { within } from "../resilience/within.ts";
import { LookupBudget } from "./lookup-budget.ts";

/** A KV value as this isolate last read it; null says that KV had none. */
type Entry = { readonly text: string | null; readonly expiresAtMs: number };

/** What one isolate remembers of KV between requests: values, never promises (a cancelled request's promise never settles). */
type KvCache = { readonly entries: BoundedMap<string, Entry>; readonly strangers: LookupBudget };

/** Added to KV's own delay, so a change shows within both together. */
const hitTtlMs = 30_000;
/** Shorter: a name just assigned must not wait as long as one just moved. */
const missTtlMs = 15_000;
/** About 40 keys a cold name; at 300 bytes a value this stays under 10 MB. */
const maxEntries = 20_000;
/** KV's own minimum. */
const kvCacheTtlSeconds = 30;
const kvDeadlineMs = 5_000;

export const createKvCache = (): KvCache => ({ entries: new BoundedMap(maxEntries), strangers: new LookupBudget() });

/** The one call of Workers KV that the Worker makes. */
export type BulkKv = {
  get(keys: string[], options: { type: "text"; cacheTtl: number }): Promise<Map<string, string | null>>;
};

/** `chosenBy` a stranger: keys made from what a token says of itself. Beyond the budget for those, they read as absent. */
export type ReadKv = (
  keys: readonly string[],
  chosenBy?: "directory" | "stranger",
) => Promise<Result<ReadonlyMap<string, string | null>, string>>;

/** Reads through the isolate's cache: what is not there comes by one bulk read (at most 100 keys), and none is made when all is. */
export function createReadKv(kv: BulkKv, cache: KvCache, now: () => Date, onRead: () => void): ReadKv {
  return async (keys, chosenBy = "directory") => {
    const nowMs = now().getTime();
    const values = new Map<string, string | null>();
    for (const key of keys) {
      const entry = cache.entries.get(key);
      if (entry !== undefined && entry.expiresAtMs > nowMs) values.set(key, entry.text);
    }
    const missing = [...new Set(keys)].filter((key) => !values.has(key));
    if (missing.length === 0) return ok(values);
    if (chosenBy === "stranger" && !cache.strangers.take(nowMs)) return ok(values);
    onRead();
    const read = await bulkGet(kv, missing);
    if (!read.ok) return read;
    for (const key of missing) {
      const text = read.value.get(key) ?? null;
      values.set(key, text);
      cache.entries.set(key, { text, expiresAtMs: nowMs + (text === null ? missTtlMs : hitTtlMs) });
    }
    return ok(values);
  };
}

async function bulkGet(kv: BulkKv, keys: string[]): Promise<Result<Map<string, string | null>, string>> {
  try {
    const values = await within(kv.get(keys, { type: "text", cacheTtl: kvCacheTtlSeconds }), kvDeadlineMs);
    return values === "late" ? err(`KV did not answer within ${kvDeadlineMs} ms`) : ok(values);
  } catch (error) {
    return err(`KV read failed: ${error instanceof Error ? error.message : "unknown error"}`);
  }
}
