/** Compares Pods that share one registry, as in a company that has split its token service, but not yet its registry. Pure. */
import type { PodRecord, PublicKey } from "../directory/records.ts";
import { storePlace } from "../signers/index.ts";
import { type Path, quote } from "./mistake.ts";

/** The members in which the Pods of one registry must agree. */
type OfRegistry = Pick<PodRecord, "registry" | "issuer" | "audience" | "blobs">;

type Disagreement = { readonly path: Path; readonly text: string };

/**
 * Yields each difference between two Pods of the same registry. The registry has one storage, and accepts tokens of one issuer and for one audience.
 * So if two values differ, at least one of them is wrong.
 */
export function* disagreementsOf(
  pod: OfRegistry,
  other: { readonly id: string; readonly pod: OfRegistry },
): Generator<Disagreement> {
  const which = `Pod ${quote(other.id, [])}, which has the same registry`;
  for (const member of ["issuer", "audience"] as const) {
    if (pod[member] === other.pod[member]) continue;
    const wanted = quote(other.pod[member], []);
    yield {
      path: [member],
      text: `${quote(pod[member], [])} is not the ${member} of ${which}; want ${wanted} in both`,
    };
  }
  if (storageOf(pod) !== storageOf(other.pod)) {
    yield {
      path: ["blobs", "stores"],
      text: `are at other places than those of ${which}; want the same storage in both`,
    };
  }
}

/** Pods of one registry may differ in the order and the conditions of their stores, so the text leaves out both. */
const storageOf = ({ blobs: { stores } }: OfRegistry): string =>
  [...new Set(stores.map((store) => storePlace(store) ?? store.scheme))].sort().join(" ");

/** Returns the same text for the same public key, whatever its `kid` is. */
export const keyMaterial = (key: PublicKey): string =>
  JSON.stringify(["kty", "crv", "n", "e", "x", "y"].map((member) => key[member] ?? null));
