import type { StoreVerdict } from "../directory/records.ts";

/** The result of one check of a store: null if the store gave a byte of the blob, otherwise what happened instead. */
export type CheckAnswer = string | null;

/** A store with its current verdict. `place` is the store's host and path. The verdict is null until the store gets its first one. */
export type Judged = Pick<StoreVerdict, "pod" | "place"> & { readonly verdict: StoreVerdict | null };

/** A verdict changes if this many checks, one after another, all contradict it. If one of them agrees with the verdict, the verdict stays. */
export const checksInARow = 3;

type Checks<T> = {
  /** Checks each of the stores once. Returns the answers in the order of the stores. */
  readonly ask: (stores: readonly T[]) => Promise<readonly CheckAnswer[]>;
  readonly pause: () => Promise<void>;
};

/** Returns the stores whose answers contradicted their verdict in every check, each with its last answer. A store is not asked again after it agrees. */
export async function contradicted<T extends Judged>(
  stores: readonly T[],
  { ask, pause }: Checks<T>,
): Promise<ReadonlyMap<T, CheckAnswer>> {
  let left = new Map<T, CheckAnswer>(stores.map((store) => [store, null]));
  for (let check = 1; check <= checksInARow && left.size > 0; check += 1) {
    if (check > 1) await pause();
    const asked = [...left.keys()];
    const answers = await ask(asked);
    left = new Map(
      asked
        .map((store, index) => [store, answers[index] ?? null] as const)
        .filter(([store, answer]) => contradicts(store, answer)),
    );
  }
  return left;
}

/**
 * Whether an answer contradicts the store's verdict. A store without a verdict can become `in` by good answers, but it never becomes `out` by bad
 * ones. Some stores answer only clients near them, and never the edge. Such a store must not become `out`.
 */
const contradicts = ({ verdict }: Judged, answer: CheckAnswer): boolean =>
  (verdict?.state === "in") === (answer !== null);

/**
 * Returns the verdicts on one Pod's stores. If the new verdicts would leave no store `in`, the old ones stay. The checks are then probably wrong, and
 * clients have no other store anyway. This rule does not apply with `redirectsItself`: the Pod then redirects clients by itself too, so they can do
 * without these stores.
 */
export function judgePod<T extends Judged>(
  stores: readonly T[],
  changes: ReadonlyMap<T, CheckAnswer>,
  { redirectsItself, now }: { readonly redirectsItself: boolean; readonly now: Date },
): readonly StoreVerdict[] {
  const before = stores.map(({ verdict }) => verdict);
  const after = stores.map((store) => {
    const answer = changes.get(store);
    return answer === undefined ? store.verdict : verdictFor(store, answer, now);
  });
  const isAnyLeft = redirectsItself || after.some((verdict) => verdict?.state === "in");
  return (isAnyLeft ? after : before).filter((verdict) => verdict !== null);
}

function verdictFor({ pod, place }: Judged, answer: CheckAnswer, now: Date): StoreVerdict {
  const since = now.toISOString();
  return answer === null ? { pod, place, state: "in", since } : { pod, place, state: "out", since, why: answer };
}

/**
 * Returns the items that are checked in this minute. The items are divided into turns. Each minute takes the next turn, and after the last turn comes
 * the first one again. A turn has at most `most` stores, because one run may send only so many requests. All stores of one item are in the same turn.
 */
export function turnOf<T extends { readonly size: number }>(
  items: readonly T[],
  most: number,
  minute: number,
): readonly T[] {
  const turns: T[][] = [];
  let left = 0;
  for (const item of items) {
    if (item.size > left) {
      turns.push([]);
      left = most;
    }
    turns.at(-1)?.push(item);
    left -= item.size;
  }
  return turns[minute % turns.length] ?? [];
}
