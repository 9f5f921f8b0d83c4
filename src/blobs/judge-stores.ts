import type { StoreVerdict } from "../directory/records.ts";

/** Null if the store gave a byte of the blob, otherwise what happened instead. */
export type CheckAnswer = string | null;

/** A store with its present verdict, or with null before its first one. `place` is the store's host and path. */
export type Judged = Pick<StoreVerdict, "pod" | "place"> & { readonly verdict: StoreVerdict | null };

/** A verdict changes only if this many checks in a row contradict it. */
export const checksInARow = 3;

type Checks<T> = {
  /** Checks each store once. Returns the answers in the order of the stores. */
  readonly ask: (stores: readonly T[]) => Promise<readonly CheckAnswer[]>;
  readonly pause: () => Promise<void>;
};

/**
 * Returns the stores whose answers contradicted their verdict in all checks, each with its last answer. After an answer that agrees with the verdict,
 * a store is not asked again.
 */
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
 * Whether an answer contradicts the store's verdict. A store without a verdict may be one that answers only clients near it, and never the edge. So a
 * bad answer from such a store changes nothing.
 */
const contradicts = ({ verdict }: Judged, answer: CheckAnswer): boolean =>
  (verdict?.state === "in") === (answer !== null);

/**
 * Returns the verdicts on one Pod's stores. If no store would be `in`, and the Pod does not redirect clients itself, the checks are probably wrong.
 * So the old verdicts stay.
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
 * Returns the items whose turn it is in this minute; each is a Pod with `size` stores. A minute's run may send only so many requests, so a turn has
 * at most `most` stores.
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
