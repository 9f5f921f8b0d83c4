import { type Client, fits, type ParsedCidrs } from "../directory/clients.ts";
import type { Directory, Pod } from "../directory/directory.ts";
import type { Store } from "../signers/index.ts";
import { healthOrNone, verdictOf, whyUnchecked } from "./store-health.ts";

type StoreChoice = {
  /**
   * The edge signs for the first store. If that fails, the edge tries the next one, and if all fail, the client gets an error. If the list is empty,
   * or the edge comes to a store of the scheme `pod`, the client gets the Pod's own answer.
   */
  readonly stores: readonly Store[];
  /** Names each store that was passed over because its checks failed, and says how they failed. Null if there is none. */
  readonly passedOver: string | null;
};

type Ports = { readonly directory: Directory; readonly parsedCidrs: ParsedCidrs };

/** Returns the stores that fit the client, in the order of the Pod's record, but those with the verdict `out` last. */
export async function chooseStores(pod: Pod, client: Client, { directory, parsedCidrs }: Ports): Promise<StoreChoice> {
  const fitting = storesFor(pod, client, parsedCidrs);
  // The verdicts are in the key `health`, which is read only if there is a choice. Old verdicts on stores that are no longer checked do not count,
  // because they would never change.
  if (fitting.length < 2 || whyUnchecked(pod) !== null) return { stores: fitting, passedOver: null };
  const health = await healthOrNone(directory);
  const whyOut = (store: Store): string | null => {
    const verdict = verdictOf(health, pod, store);
    if (verdict?.state !== "out") return null;
    return `blobs.stores.${pod.blobs.stores.indexOf(store)} is out since ${verdict.since}: ${verdict.why}`;
  };
  const out = fitting.filter((store) => whyOut(store) !== null);
  const stores = [...fitting.filter((store) => !out.includes(store)), ...out];
  const [first] = stores;
  const before = first === undefined ? [] : fitting.slice(0, fitting.indexOf(first));
  return { stores, passedOver: before.length === 0 ? null : before.map(whyOut).join("; ") };
}

export const storesFor = (pod: Pod, client: Client, parsedCidrs: ParsedCidrs): readonly Store[] =>
  pod.blobs.stores.filter(({ when }) => when === undefined || fits(when, client, parsedCidrs));
