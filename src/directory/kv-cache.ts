import type { BoundedMap } from "../lib/collections.ts";
import type { KeptEntries } from "./kept-entries.ts";
import { directoryKey, isShared, kindOf } from "./keys.ts";
import type { KvHealth } from "./kv-health.ts";
import type { PodId } from "./pod-id.ts";

/** A KV value as this isolate last read it. Expired entries are kept, because they are used while KV fails or is slow. */
export type Entry = {
  /** Null if KV had no value. */
  readonly text: string | null;
  readonly readAtMs: number;
  /** When KV was last asked for this value. If this is later than `readAtMs`, KV has not answered that read yet, or the read failed. */
  askedAtMs: number;
};
export type Entries = ReadonlyMap<string, Entry>;

/** What one isolate remembers of KV between requests: values, never promises, because the promise of a cancelled request never settles. */
export type KvCache = {
  /**
   * Entries that users depend on while KV fails. A key that a stranger made up is never put into this map, because it could push out such an entry.
   */
  readonly kept: KeptEntries;
  /**
   * All other entries, such as those whose keys a stranger chose. An entry without a value is current for 15 s. The map holds about as many keys as
   * strangers may look up in this time, so it seldom drops an entry that is still current.
   */
  readonly passing: BoundedMap<string, Entry>;
  readonly budgets: Readonly<Record<Budgeted, LookupBudget>>;
  readonly issuerBudgets: BoundedMap<PodId, LookupBudget>;
  readonly userBudgets: {
    readonly ofPods: BoundedMap<PodId, LookupBudget>;
    /** The part of the Pod's budget that each user may take. A key is `<pod>/<user>`. */
    readonly ofUsers: BoundedMap<string, LookupBudget>;
  };
  readonly health: KvHealth;
};

/**
 * Who chose the keys of a read:
 * - `directory`: a record of the directory, or a user of a fleet without tokens.
 * - `issuers`: the Pods that issued the request's token, which allows the name. A hostile Pod's tokens may name anything.
 * - `owner`: the issuer to which the name belongs, as a read for `issuers` has just found. A read for `owner` moves the name's keys into `kept`, and
 *   takes nothing from KV, so no budget pays for it.
 * - `pod`: a Pod, which may have made up the names.
 * - `stranger`: anyone, because anyone may ask for a name.
 * - `user`: a user whose credentials a Pod accepted. They need not allow the name.
 * - `cell`: a password that names a GitLab cell.
 * - `claim`: a token, which names a Pod or a key and may be forged.
 *
 * `stranger`, `cell` and `claim` each have a budget of look-ups, so that strangers who look up names cannot keep users from logging in. Each issuer
 * has a budget of its own, so that a hostile Pod cannot keep other Pods' users waiting. The users of a Pod share one budget. Each user may take only
 * a part of it, so that no user can keep all others waiting.
 *
 * When a budget is spent, the read fails. A read for a `claim` finds no values instead. Reads of Pods that the directory lists cost no budget, so a
 * failure would tell a stranger that the token's Pod is not listed.
 */
export type ChosenBy = "directory" | "pod" | Budgeted | Issuers | Owner | User;
/** The first issuer whose budget has enough keys left pays for the look-up. */
export type Issuers = { readonly issuers: readonly [PodId, ...PodId[]] };
type Owner = { readonly owner: PodId };
/** A user whose credentials `pod` accepted. `user` is the name in that Pod's token or, if the token names no user, a hash of the password. */
export type User = { readonly user: string; readonly pod: PodId };
type Budgeted = "stranger" | "cell" | "claim";

/**
 * Limits for the age of values, stricter than the cache's own (30 s, or 15 s for a missing value). An older assignment or directory record is read
 * again, unless KV fails or is slow.
 */
export type MaxAges = {
  readonly assignmentMaxAgeMs?: number;
  readonly directoryMaxAgeMs?: number;
};

/** For how long a value counts as current. An isolate sees a change in KV at most this much later than KV itself shows it. */
const hitTtlMs = 30_000;
/** For how long a missing value counts as current. A new group's first pull may have to wait this long, so this is shorter than `hitTtlMs`. */
export const missTtlMs = 15_000;
/** A value that was read longer ago than this is not used, even while KV fails. */
const maxOutdatedMs = 24 * 60 * 60 * 1_000;

const budgetWindowMs = 10_000;
/** Limits how many keys the requests that share this budget may look up in 10 seconds. It may be a part of a larger budget, `whole`. */
export class LookupBudget {
  readonly #most: number;
  readonly #whole: LookupBudget | null;
  #windowEndsAtMs = 0;
  #taken = 0;

  constructor(most: number, whole: LookupBudget | null = null) {
    this.#most = most;
    this.#whole = whole;
  }

  /** Returns false, and takes nothing, if fewer keys are left in this window. */
  take(keys: number, nowMs: number): boolean {
    if (nowMs >= this.#windowEndsAtMs) {
      this.#windowEndsAtMs = nowMs + budgetWindowMs;
      this.#taken = 0;
    }
    if (this.#taken + keys > this.#most || this.#whole?.take(keys, nowMs) === false) return false;
    this.#taken += keys;
    return true;
  }
}

/** The budget of each issuer, and of each Pod's users together, for 10 seconds. At 3 keys for a name, it allows about 300 new names a second. */
const podKeys = 10_000;
/** The budget of each user for 10 seconds. It is enough for two token requests of the largest size, which `userBounds` sets. */
const userKeys = 2_000;

/** Returns false, and takes nothing, if the budget that must pay has fewer than `charge.keys` left. */
export function pay(
  cache: KvCache,
  chosenBy: ChosenBy,
  charge: { readonly keys: number; readonly nowMs: number },
): boolean {
  const { budgets, issuerBudgets, userBudgets } = cache;
  const takeFrom = (budget: LookupBudget) => budget.take(charge.keys, charge.nowMs);
  if (chosenBy === "directory" || chosenBy === "pod") return true;
  if (typeof chosenBy === "string") return takeFrom(budgets[chosenBy]);
  if ("owner" in chosenBy) return true;
  if ("issuers" in chosenBy) {
    return chosenBy.issuers.some((issuer) => takeFrom(budgetUnder(issuerBudgets, issuer, new LookupBudget(podKeys))));
  }
  const { user, pod } = chosenBy;
  const ofPod = budgetUnder(userBudgets.ofPods, pod, new LookupBudget(podKeys));
  return takeFrom(budgetUnder(userBudgets.ofUsers, `${pod}/${user}`, new LookupBudget(userKeys, ofPod)));
}

/** The budget is stored again at each use, so that a full map drops the budget that was used longest ago. */
function budgetUnder<K>(budgets: BoundedMap<K, LookupBudget>, key: K, fresh: LookupBudget): LookupBudget {
  const budget = budgets.get(key) ?? fresh;
  budgets.set(key, budget);
  return budget;
}

export const remembered = ({ kept, passing }: KvCache, key: string): Entry | undefined =>
  kept.get(key) ?? passing.get(key);

/** Puts an entry into `kept` if users depend on it or if its key is already there, else into `passing`. */
export function remember(
  { kept, passing }: KvCache,
  { key, entry, chosenBy }: { readonly key: string; readonly entry: Entry; readonly chosenBy: ChosenBy },
): void {
  // A cell, token key or Pod that exists is kept even if a stranger named it, because logins and tokens need it. A fleet has few of them.
  const exists = (chosenBy === "cell" || chosenBy === "claim") && entry.text !== null;
  const owner = typeof chosenBy === "object" && "owner" in chosenBy ? chosenBy.owner : null;
  const known = kept.get(key);
  const isWanted = chosenBy === "directory" || owner !== null || isShared(key) || exists;
  if (!isWanted && known === undefined) {
    if (passing.get(key) !== entry) passing.set(key, entry);
  } else if (known !== entry) kept.set(key, entry, owner);
}

/**
 * An entry is aging after this share of the time for which it is current. A request that uses an aging entry also reads the entry again in the
 * background. So requests for a name in steady use never wait for KV.
 */
const agingShare = 2 / 3;

export type Limits = { readonly nowMs: number } & MaxAges;

export const isCurrent = (key: string, entry: Entry, limits: Limits): boolean =>
  limits.nowMs - entry.readAtMs <= maxAgeMs(key, entry, limits);

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

/** Null if one of the keys has no usable value, because an answer from only some of the values would be a guess. */
export function lastEntries(cache: KvCache, keys: readonly string[], nowMs: number): Entries | null {
  const entries = new Map<string, Entry>();
  for (const key of keys) {
    const last = remembered(cache, key);
    if (last === undefined || last.readAtMs + maxOutdatedMs < nowMs) return null;
    entries.set(key, last);
  }
  return entries;
}
