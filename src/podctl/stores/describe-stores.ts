import { type StoreHealth, verdictOf, whyUnchecked } from "../../blobs/store-health.ts";
import type { Pod } from "../../directory/directory.ts";
import { storePlace } from "../../signers/index.ts";
import { colors, inColumns, inOneLine } from "../output.ts";

type DescribedStore = {
  readonly pod: string;
  /** The index in `blobs.stores`. */
  readonly store: number;
  readonly scheme: string;
  /** The store's host and path; null if only the Pod's own redirect names them. */
  readonly place: string | null;
  /**
   * `in`: the edge may use the store. `out`: the store failed the edge's checks, so the edge uses another one. `new`: the store has
   * never passed three checks in a row. `unchecked`: the edge does not check the store, and `why` gives the reason.
   */
  readonly state: "in" | "out" | "new" | "unchecked";
  readonly since?: string;
  readonly why?: string;
};

export function describeStores(pod: Pod, health: StoreHealth): readonly DescribedStore[] {
  const unchecked = whyUnchecked(pod);
  return pod.blobs.stores.map((store, index): DescribedStore => {
    const known = { pod: pod.id, store: index, scheme: store.scheme, place: storePlace(store) };
    if (store.scheme === "pod") return { ...known, state: "unchecked", why: "the Pod redirects by itself" };
    if (unchecked !== null) return { ...known, state: "unchecked", why: unchecked };
    const verdict = verdictOf(health, pod, store);
    if (verdict === null)
      return {
        ...known,
        state: "new",
        why: "it has not given three good answers in a row yet, so it is not taken out",
      };
    const { state, since } = verdict;
    return verdict.state === "out" ? { ...known, state, since, why: verdict.why } : { ...known, state, since };
  });
}

const paints = { in: colors.green, out: colors.red, new: colors.yellow, unchecked: colors.yellow } as const;

export function formatStores(stores: readonly DescribedStore[]): string {
  const rows = inColumns(stores, ({ pod, store, scheme, state, place }) => [
    pod,
    `store ${store} (${scheme})`,
    state,
    place ?? "–",
  ]);
  const lines = rows.map(([{ state, since, why }, [pod, store, shownState, place]]) => {
    const told = [...(since === undefined ? [] : [`since ${since}`]), ...(why === undefined ? [] : [why])].join(": ");
    return `${pod}  ${store}  ${paints[state](shownState)}  ${place}  ${inOneLine(told)}`;
  });
  return lines.join("\n");
}
