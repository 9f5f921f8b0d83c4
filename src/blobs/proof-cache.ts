import { type LocationCache, readCached } from "../net/location-cache.ts";
import { deletedAtMs, writeTombstone } from "../net/tombstones.ts";
import { latest, type ProofCache, proofSchema } from "./proofs.ts";

/**
 * Entries stay in the cache much longer than proofs are valid. While a blob has an entry, a manifest does not prove the blob (see `recordManifest`).
 * Without the expired entry, a manifest would prove a blob that may have been deleted since the manifest was pushed.
 */
const keepSeconds = 24 * 3600;

/** A proof and a tombstone have different keys, so a proof that another isolate writes later cannot overwrite the tombstone. */
export const createProofCache = (cache: LocationCache): ProofCache => ({
  read: async (key) => {
    const [proof, atMs] = await Promise.all([readCached(cache, `proof/${key}`, proofSchema), deletedAtMs(cache, key)]);
    if (proof === "unreadable" || atMs === "unreadable") return "unreadable";
    return latest(proof, atMs === 0 ? null : { kind: "tombstone", atMs, terms: "" });
  },
  write: (key, proof) =>
    proof.kind === "tombstone"
      ? writeTombstone(cache, key, proof)
      : cache.put(`proof/${key}`, Response.json(proof), keepSeconds),
});
