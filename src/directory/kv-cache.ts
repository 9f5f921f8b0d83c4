import type { BoundedMap } from "../lib/collections.ts";
import type { KeptEntries } from "./kept-entries.ts";
import { directoryKey, isShared, kindOf } from "./keys.ts";
import type { KvHealth } from "./kv-health.ts";
import type { PodId } from "./pod-id.ts";

/** A KV value as this isolate last read it; null means that KV had no value. Expired entries are kept, because they are used while KV fails or is slow. */
export type Entry = {
  readonly text: string | null;
  readonly readAtMs: number;
  /** When KV was last asked for this value. If this is later than `readAtMs`, KV has not answered that read yet, or the read failed. */
  askedAtMs: number;
};
export type Entries = ReadonlyMap<string, Entry>;

/** What one isolate remembers of KV between requests: values, never promises, because the promise of a cancelled request never settles. */
export type KvCache = {
  /**
   * Entries whose keys the directory or known users chose. Users depend on these entries while KV fails. A key that a stranger chose is never put
   * here, because it could push out an entry that users depend on.
   */
  readonly kept: KeptEntries;
  /**
   * Entries whose keys only strangers or Pods chose. A missing value is current for 15 s. The map can hold about as many keys as strangers may look
   * up in 15 s. So it seldom drops an entry that is still current.
   */
  readonly passing: BoundedMap<string, Entry>;
  readonly budgets: Readonly<Record<Budgeted, LookupBudget>>;
  /** The budget of each Pod for the names in the tokens that it issues. */
  readonly issuerBudgets: BoundedMap<PodId, LookupBudget>;
  readonly health: KvHealth;
};

/**
 * Who chose the keys of a read:
 * - `directory`: the directory itself, or a user of a fleet without tokens.
 * - `issuers`: the Pods that issued the request's token, which allows the name. A hostile Pod's tokens may name anything.
 * - `pod`: a Pod that lists names, which may be made up.
 * - `stranger`: anyone, because anyone may ask for a name.
 * - `user`: a request whose credentials a Pod found good, although they may not allow the name.
 * - `cell`: a password that names a cell.
 * - `claim`: a token, which names a Pod or a key and may be forged.
 * Each of the last four has its own budget, so that strangers who look up names cannot keep users from logging in. Each issuer has its own budget
 * too, so that a hostile Pod cannot keep other Pods' users waiting. A key costs nothing if a known user chose it before. When a budget is spent, the
 * read fails. A read for a `claim` finds no values instead. Pods that the directory lists cost no budget, so a failure would tell a stranger that the
 * Pod in the token is not listed.
 */
export type ChosenBy = "directory" | "pod" | Budgeted | Issuers | Owner;
/** The budget of the first issuer pays for the look-up. */
export type Issuers = { readonly issuers: readonly [PodId, ...PodId[]] };
/** The Pod to which a name belongs, if this Pod also issued the request's token. The name's keys have just been read, so no budget pays for them. */
export type Owner = { readonly owner: PodId };
type Budgeted = "stranger" | "user" | "cell" | "claim";

/** How old values may be. If a member is missing, only the cache's own limits count. */
export type MaxAges = {
  /** If an assignment was read longer ago than this, it is read again, unless KV fails or is slow. */
  readonly assignmentMaxAgeMs?: number;
  /** If the directory record was read longer ago than this, it is read again, unless KV fails or is slow. */
  readonly directoryMaxAgeMs?: number;
};

/** For how long a value counts as current. So an isolate may see a change as late as this time plus KV's own delay. */
const hitTtlMs = 30_000;
/** A missing value is read again earlier, because a name that was just assigned must not wait as long as a name that was moved. */
const missTtlMs = 15_000;
/** A value that was read longer ago than this is not used, even while KV fails. */
const maxOutdatedMs = 24 * 60 * 60 * 1_000;

const budgetWindowMs = 10_000;
/** Limits how many keys all requests of the isolate together may look up in each window of 10 seconds. */
export class LookupBudget {
  readonly #most: number;
  #windowEndsAtMs = 0;
  #taken = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** Takes this many keys from the budget. Returns false, and takes none, if fewer keys are left in this window. */
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

/** The budget of each issuer for 10 seconds. At 3 keys for each name, it allows about 300 new names a second. */
const issuerKeys = 10_000;

/** Returns the budget that pays for a look-up. Null if the look-up has no limit. */
export function budgetOf({ budgets, issuerBudgets }: KvCache, chosenBy: ChosenBy): LookupBudget | null {
  if (chosenBy === "directory" || chosenBy === "pod") return null;
  if (typeof chosenBy === "string") return budgets[chosenBy];
  if ("owner" in chosenBy) return null;
  const [issuer] = chosenBy.issuers;
  const budget = issuerBudgets.get(issuer) ?? new LookupBudget(issuerKeys);
  issuerBudgets.set(issuer, budget);
  return budget;
}

export const remembered = ({ kept, passing }: KvCache, key: string): Entry | undefined =>
  kept.get(key) ?? passing.get(key);

/**
 * Once a known user has chosen a key, the key stays in `kept`. A cell that exists is put into `kept` too, because a fleet has few cells and every
 * login needs one.
 */
export function remember(
  { kept, passing }: KvCache,
  { key, entry, chosenBy }: { readonly key: string; readonly entry: Entry; readonly chosenBy: ChosenBy },
): void {
  const isCell = chosenBy === "cell" && entry.text !== null;
  const owner = typeof chosenBy === "object" && "owner" in chosenBy ? chosenBy.owner : null;
  const known = kept.get(key);
  const isWanted = chosenBy === "directory" || owner !== null || isShared(key) || isCell;
  if (!isWanted && known === undefined) {
    if (passing.get(key) !== entry) passing.set(key, entry);
  } else if (known !== entry) kept.set(key, entry, owner);
}

/**
 * An entry is current only for some time. After this share of that time, a request that uses the entry also reads it again in the background. So a
 * request for a name that is in use never waits for KV, however slow KV is.
 */
const agingShare = 2 / 3;

type Limits = { readonly nowMs: number } & MaxAges;

export const isCurrent = (key: string, entry: Entry, limits: Limits): boolean =>
  limits.nowMs - entry.readAtMs <= maxAgeMs(key, entry, limits);

/** Whether the entry will soon not be current any more. */
export const isAging = (key: string, entry: Entry, limits: Limits): boolean =>
  limits.nowMs - entry.readAtMs > agingShare * maxAgeMs(key, entry, limits);

function maxAgeMs(
  key: string,
  { text }: Entry,
  { assignmentMaxAgeMs = hitTtlMs, directoryMaxAgeMs = hitTtlMs }: Limits,
): number {
  const ttlMs = text === null ? missTtlMs : hitTtlMs;
  if (key === directoryKey) return Math.min(ttlMs, directoryMaxAgeMs);
  return kindOf(key) === "route" ? Math.min(ttlMs, assignmentMaxAgeMs) : ttlMs;
}

/**
 * Returns the last values of all keys. Null if one of the keys has no usable value, because an answer from only some of the values would be a guess.
 */
export function lastEntries(cache: KvCache, keys: readonly string[], nowMs: number): Entries | null {
  const entries = new Map<string, Entry>();
  for (const key of keys) {
    const last = remembered(cache, key);
    if (last === undefined || last.readAtMs + maxOutdatedMs < nowMs) return null;
    entries.set(key, last);
  }
  return entries;
}
