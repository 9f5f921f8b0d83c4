import type { StoreVerdict } from "../directory/records.ts";

/** What came of one check of a store: null if it gave a byte of the blob, else what happened instead. */
export type CheckAnswer = string | null;

/** A store's place with the verdict that it has; null before its first. */
export type Judged = Pick<StoreVerdict, "pod" | "place"> & { readonly verdict: StoreVerdict | null };

/** This many answers in a row that contradict a verdict change it. One answer that agrees with it keeps it. */
export const checksInARow = 3;

type Checks<T> = {
  /** Checks each of the stores once; the answers are in their order. */
  readonly ask: (stores: readonly T[]) => Promise<readonly CheckAnswer[]>;
  readonly pause: () => Promise<void>;
};

/** The stores whose answers contradicted their verdicts each time, with the last answer. A store that agrees once is not asked again. */
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
 * A store without a verdict is treated as one that is out: it must have answered before it can be taken out, because a near store may answer only its own
 * clients, and never the edge.
 */
const contradicts = ({ verdict }: Judged, answer: CheckAnswer): boolean =>
  (verdict?.state === "in") === (answer !== null);

/**
 * The verdicts on one Pod's stores. If no store of the Pod would be left, none is taken out: then it is more likely that the checks are wrong than that
 * another store is better. `redirectsItself`: the Pod's own redirect is left, whatever the stores do.
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
 * The items in turns of at most `most` stores, because one run may send only so many requests. An item's stores are always judged together.
 * Turn n is the one of minute n, and of every minute after as many as there are turns.
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
