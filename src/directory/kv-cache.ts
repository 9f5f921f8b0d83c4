import type { BoundedMap } from "../lib/collections.ts";
import { blocksKey, directoryKey, kindOf } from "./keys.ts";
import type { KvHealth } from "./kv-health.ts";

/** A KV value as this isolate last read it; null means that KV had no value. Expired entries are kept, because they are used while KV fails or is slow. */
export type Entry = {
  readonly text: string | null;
  readonly readAtMs: number;
  /** When KV was last asked for it. If that is later than `readAtMs`, there has been no answer yet, or none at all. */
  askedAtMs: number;
};
export type Entries = ReadonlyMap<string, Entry>;

/** What one isolate remembers of KV between requests: values, never promises, because the promise of a cancelled request never settles. */
export type KvCache = {
  /** What the directory and known users chose. It serves them while KV fails, so nothing that a stranger asks for is put here. */
  readonly kept: BoundedMap<string, Entry>;
  /** What only strangers or Pods chose. It holds at least what the strangers' budget lets them read before it expires. */
  readonly passing: BoundedMap<string, Entry>;
  readonly budgets: Readonly<Record<Budgeted, LookupBudget>>;
  readonly health: KvHealth;
};

/**
 * Who chose the keys. `directory`: the directory itself, or a user whose token allows what the keys are about. `stranger`: a name that anyone may ask for.
 * `pod`: a name that a Pod lists, which may be made up. `claim`: what a token says about itself. Keys of strangers and claims count against a budget if no
 * known user chose them before. When it is spent, the read of a name fails, and a claim reads as absent: another answer would tell a name that has a Pod from
 * one that has none. Each of these has a budget of its own, so that what strangers spend on names keeps nobody from logging in. `cell`: the cell that a
 * password names. `user`: a name that is asked for with credentials that a Pod found good, although they may not allow it.
 */
export type ChosenBy = "directory" | "pod" | Budgeted;
type Budgeted = "stranger" | "user" | "cell" | "claim";

/** How old values may be, by default as old as this isolate's cache lets them be. */
export type MaxAges = {
  /** An assignment that was read longer ago is read again, unless KV fails or is slow. */
  readonly assignmentMaxAgeMs?: number;
  /** The same for the directory record. */
  readonly directoryMaxAgeMs?: number;
};

/** This is added to KV's own delay, so a change is seen after both together. */
const hitTtlMs = 30_000;
/** A miss is shorter, because a name that was just assigned must not wait as long as one that was moved. */
const missTtlMs = 15_000;
/** What was read longer ago is not used, even while KV fails. */
const maxOutdatedMs = 24 * 60 * 60 * 1_000;

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

export const remembered = ({ kept, passing }: KvCache, key: string): Entry | undefined =>
  kept.get(key) ?? passing.get(key);

/** Every request needs these keys, so they count as chosen by the directory. */
export const isShared = (key: string): boolean => key === directoryKey || key === blocksKey;

/** A key that known users chose once stays with theirs. So does a cell that is there, because a fleet has few of them and every login needs one. */
export function remember(
  { kept, passing }: KvCache,
  { key, entry, chosenBy }: { readonly key: string; readonly entry: Entry; readonly chosenBy: ChosenBy },
): void {
  const isCell = chosenBy === "cell" && entry.text !== null;
  const isWanted = chosenBy === "directory" || isShared(key) || isCell;
  const cache = isWanted || kept.get(key) !== undefined ? kept : passing;
  if (cache.get(key) !== entry) cache.set(key, entry);
}

/** Whether the entry need not be read again. */
export function isCurrent(
  key: string,
  { text, readAtMs }: Entry,
  { nowMs, assignmentMaxAgeMs = hitTtlMs, directoryMaxAgeMs = hitTtlMs }: { readonly nowMs: number } & MaxAges,
): boolean {
  const ageMs = nowMs - readAtMs;
  if (ageMs >= (text === null ? missTtlMs : hitTtlMs)) return false;
  if (key === directoryKey) return ageMs <= directoryMaxAgeMs;
  return kindOf(key) !== "route" || ageMs <= assignmentMaxAgeMs;
}

/** All of the keys as they were read last; null if one of them was not, because a part of them would be a guess. */
export function lastEntries(cache: KvCache, keys: readonly string[], nowMs: number): Entries | null {
  const entries = new Map<string, Entry>();
  for (const key of keys) {
    const last = remembered(cache, key);
    if (last === undefined || last.readAtMs + maxOutdatedMs < nowMs) return null;
    entries.set(key, last);
  }
  return entries;
}
