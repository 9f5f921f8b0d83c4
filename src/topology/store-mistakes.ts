import type { Store } from "../signers/index.ts";
import type { When } from "../signers/store.ts";
import { conditionMistakes, covers, isOpen } from "./conditions.ts";

/** `store` is the index of the store in its Pod's list. */
type StoreMistake = { readonly store: number; readonly text: string };

/** Returns what is wrong with the conditions of a Pod's stores: entries that fit no client, and stores that are never chosen. */
export function storeMistakes(stores: readonly Store[]): readonly StoreMistake[] {
  return stores.flatMap(({ when = {} }, store) => {
    const wrong = conditionMistakes(when).map((mistake) => `when.${mistake}`);
    const earlier = stores.slice(0, store).findIndex((other) => hides(other, when));
    if (earlier >= 0) {
      const why = isOpen(stores[earlier]?.when ?? {}) ? "has no condition" : "fits all of its clients";
      wrong.push(`is never chosen, because stores.${earlier} comes first and ${why}`);
    }
    return wrong.map((text) => ({ store, text }));
  });
}

/**
 * Whether `store` takes all clients of a later store, so that the later store is never used. A later store for exactly the same clients is a reserve:
 * it is used while `store` fails its checks or its secret has expired. A `pod` store needs no reserve, because it has neither checks nor a secret.
 */
function hides(store: Store, later: When): boolean {
  const own = store.when ?? {};
  const isReplaceable = store.scheme !== "pod" && covers(later, own);
  return covers(own, later) && !isReplaceable;
}
