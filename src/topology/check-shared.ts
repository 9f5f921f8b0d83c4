import type { PodId } from "../directory/pod-id.ts";
import { storePlace } from "../signers/index.ts";
import { type Mistake, type Path, quote } from "./mistake.ts";
import { disagreementsOf, keyMaterial } from "./one-registry.ts";
import type { TopologyPod } from "./topology.ts";

type Owner = { readonly id: PodId; readonly pod: TopologyPod };
type Claim = {
  readonly what: string;
  readonly value: string;
  /** What a message quotes. By default it is the value. */
  readonly shown?: string;
  readonly path: Path;
  /** The value belongs to the registry, so Pods with the same registry may share it. */
  readonly isOfRegistry?: boolean;
};

/**
 * Yields a mistake for each value that two Pods share but must not, such as a key or a cell. Values that belong to a registry, such as the issuer,
 * must be the same in all Pods of this registry.
 */
export function* checkShared(pods: ReadonlyMap<PodId, TopologyPod>): Generator<Mistake> {
  const owners = new Map<string, Owner>();
  const claim = (claimant: Owner, { what, value, shown = value, path, isOfRegistry = false }: Claim): Mistake[] => {
    const { id, pod } = claimant;
    const owner = owners.get(`${what} ${value}`);
    if (owner === undefined) owners.set(`${what} ${value}`, claimant);
    if (owner === undefined || (isOfRegistry && owner.id !== id && owner.pod.registry === pod.registry)) return [];
    const named = `${what} ${quote(shown, [])}`;
    const text =
      owner.id === id
        ? `duplicate ${named}; remove one of the two`
        : `${named} is also used by Pod "${owner.id}"; no two Pods may share one`;
    return [{ path: ["pods", id, ...path], at: "value", text }];
  };
  /** Every Pod is compared with the first Pod of its registry. The first one agrees with itself. */
  const firstAt = new Map<string, Owner>();
  for (const [id, pod] of pods) {
    const own: Owner = { id, pod };
    const first = firstAt.get(pod.registry) ?? own;
    firstAt.set(pod.registry, first);
    for (const { path, text } of disagreementsOf(pod, first)) yield { path: ["pods", id, ...path], at: "value", text };
    for (const each of claimsOf(pod)) yield* claim(own, each);
    for (const [index, key] of pod.keys.entries()) {
      const wrong = claim(own, { what: "kid", value: key.kid, path: ["keys", index, "kid"] });
      yield* wrong;
      // One key of a Pod may have two kids, because versions of the registry differ in how they make a kid.
      const owner = owners.get(`the key of kid ${keyMaterial(key)}`);
      if (wrong.length > 0 || owner?.id === id) continue;
      yield* claim(own, { what: "the key of kid", value: keyMaterial(key), shown: key.kid, path: ["keys", index] });
    }
  }
}

function* claimsOf(pod: TopologyPod): Generator<Claim> {
  yield { what: "issuer", value: pod.issuer, path: ["issuer"], isOfRegistry: true };
  if (pod.gateway) yield { what: "gateway", value: pod.gateway.url, path: ["gateway", "url"] };
  for (const [index, cell] of pod.cells.entries()) yield { what: "cell", value: cell, path: ["cells", index] };
  // Two registries must not have their blobs in one place. There, a blob's key depends only on its digest, and not on a repository. So a proof from
  // one Pod would let a client get a private blob of the other Pod.
  for (const [place, index] of placesOf(pod)) {
    yield { what: "storage", value: place, path: ["blobs", "stores", index], isOfRegistry: true };
  }
}

/** Returns each place of a Pod's private blobs, with the index of the last store that is in this place. */
const placesOf = ({ blobs }: TopologyPod): ReadonlyMap<string, number> =>
  new Map(
    blobs.stores.flatMap((store, index) => {
      const place = storePlace(store);
      // Two Pods may share a public store, because anyone may read all its blobs without a proof.
      return place === null || store.scheme === "public" ? [] : [[place, index]];
    }),
  );
