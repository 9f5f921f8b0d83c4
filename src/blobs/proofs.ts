import * as v from "valibot";
import type { Pod } from "../directory/directory.ts";
import type { BoundedMap } from "../lib/collections.ts";
import type { Digest } from "../oci/digest.ts";
import type { RepositoryName } from "../oci/repository-name.ts";

/** A blob or a manifest in one repository of one Pod. Its proof is good for no other repository, Pod or digest. */
export type Owned = { readonly pod: Pod; readonly repository: RepositoryName; readonly digest: Digest };

/**
 * The last thing that the edge learned about a digest in one repository. `head`: a HEAD showed that the Pod has the digest. `manifest`: a manifest of
 * this repository names the digest. `tombstone`: the digest was deleted, or the Pod does not have it.
 */
type Proof = v.InferOutput<typeof proofSchema>;

export const proofSchema = v.strictObject({
  kind: v.picklist(["head", "manifest", "tombstone"]),
  /** `head`, `manifest`: when the edge asked the Pod. `tombstone`: when the edge recorded it, so that no HEAD sent before then proves the blob. */
  atMs: v.number(),
  terms: v.string(),
});

/**
 * Names a Pod and its registry. What the edge remembers of a repository counts only while the repository is at this Pod, and the Pod has this
 * registry.
 */
export const holderOf = ({ id, registry }: Pod): string => `${id} ${registry}`;

/**
 * Returns what a proof depends on: the Pod, its registry, and `blobs.proof`, which says what may prove a blob. If one of them changes, older proofs
 * are no longer valid.
 */
const termsOf = (pod: Pod): string => `${holderOf(pod)} ${pod.blobs.proof}`;

/** Null if the proof was made under other terms than the Pod's. A tombstone counts at every Pod. */
const ofPod = (proof: Proof | null, pod: Pod): Proof | null =>
  proof === null || proof.kind === "tombstone" || proof.terms === termsOf(pod) ? proof : null;

type Age = {
  readonly now: Date;
  /** How many seconds after its expiry a proof still counts. */
  readonly staleSeconds: number;
};

const isValid = ({ kind, atMs, terms }: Proof, pod: Pod, { now, staleSeconds }: Age): boolean =>
  kind !== "tombstone" &&
  terms === termsOf(pod) &&
  now.getTime() < atMs + (pod.blobs.proofTtlSeconds + staleSeconds) * 1000;

type FoundIn = "memory" | "cache" | "manifest";

/** What one isolate remembers between requests. */
export type ProofMemory = {
  readonly known: BoundedMap<string, Proof>;
  /**
   * Proofs that the edge took from manifests, and that do not count yet. A proof counts only after the edge has looked into the location's cache,
   * which may know that the blob was deleted.
   */
  readonly fromManifests: BoundedMap<string, Proof>;
  /** When the blobs of each manifest were recorded last. Until the proofs from that time expire, the manifest need not be read for new proofs. */
  readonly manifestsReadAtMs: BoundedMap<string, number>;
};

export type Proofs = {
  /** Returns where a valid proof was found. Null if there is none, so that the Pod must be asked. */
  find(blob: Owned): Promise<FoundIn | null>;
  /** Like `find`, but for a Pod that fails: a proof counts for `staleSeconds` after its expiry too. */
  findStale(blob: Owned): Promise<FoundIn | null>;
  /** Records that the Pod's answer to a HEAD proved the blob. The HEAD was sent at `askedAt`. */
  record(blob: Owned, askedAt: Date): void;
  /**
   * Records that a manifest names these blobs. This proves only blobs about which the edge knows nothing yet, neither a deletion nor an expired
   * proof.
   */
  recordManifest(manifest: Owned, blobs: readonly Digest[], askedAt: Date): Promise<void>;
  /** Whether this manifest's blobs were recorded within the last `proofTtlSeconds`. */
  hasManifest(manifest: Owned): boolean;
  /** Records that the blob was deleted. After this, neither an earlier proof nor a manifest proves the blob, but only a later HEAD. */
  forget(blob: Owned): void;
  /**
   * Called when the Pod, asked at `askedAt`, does not have the blob. Forgets the blob if memory or cache has a proof from before that time, or if the
   * cache cannot be read.
   */
  forgetMissing(blob: Owned, askedAt: Date): Promise<void>;
};

/** A cache that the isolates of one location share. It may lose entries at any time, and it may fail. */
export type ProofCache = {
  /**
   * Returns the last thing that is known about the blob, or null. `unreadable`: the cache gave no answer, although it may know that the blob was
   * deleted.
   */
  read(key: string): Promise<Proof | null | "unreadable">;
  write(key: string, proof: Proof): Promise<void>;
};

type ProofPorts = {
  readonly memory: ProofMemory;
  readonly cache: ProofCache;
  readonly clock: () => Date;
  readonly waitUntil: (promise: Promise<unknown>) => void;
};

/**
 * The key names no Pod, so that a tombstone counts at each Pod: otherwise an old Pod's proof would count again when the repository returns there.
 * A digest has no slash, so no two blobs share a key.
 */
const keyOf = ({ repository, digest }: Owned): string => `${repository}/${digest}`;

/**
 * Of each manifest that is recorded, at most this many blobs are looked up in the location's cache. Each look-up takes up to three calls of the
 * cache, and a request may make 50 calls in all (Workers' free plan).
 */
const maxComparedAtOnce = 12;

export function createProofs(ports: ProofPorts): Proofs {
  const { memory, clock } = ports;
  const { known, manifestsReadAtMs } = memory;
  const findWithin = async (blob: Owned, staleSeconds: number): Promise<FoundIn | null> => {
    const found = await lookUp(blob, staleSeconds, ports);
    return found === "unreadable" ? null : found;
  };
  const forget: Proofs["forget"] = (blob) =>
    remember(keyOf(blob), { kind: "tombstone", atMs: clock().getTime(), terms: "" }, ports);
  return {
    find: (blob) => findWithin(blob, 0),
    findStale: (blob) => findWithin(blob, blob.pod.outage.staleSeconds),
    record: (blob, askedAt) => {
      const newest = known.get(keyOf(blob));
      // A HEAD that was sent before the blob was deleted proves nothing.
      if (newest !== undefined && newest.atMs >= askedAt.getTime()) return;
      remember(keyOf(blob), { kind: "head", atMs: askedAt.getTime(), terms: termsOf(blob.pod) }, ports);
    },
    recordManifest: async (manifest, digests, askedAt) => {
      if (digests.length > 0) manifestsReadAtMs.set(keyOf(manifest), askedAt.getTime());
      const blobs = digests.map((digest) => ({ ...manifest, digest }));
      const unheard = blobs.filter((blob) => ofPod(known.get(keyOf(blob)) ?? null, blob.pod) === null);
      for (const blob of unheard) {
        const proof: Proof = { kind: "manifest", atMs: askedAt.getTime(), terms: termsOf(blob.pod) };
        memory.fromManifests.set(keyOf(blob), proof);
      }
      // The first blobs are looked up in the location's cache now. Any other blob is looked up when a client asks for it.
      await Promise.all(unheard.slice(0, maxComparedAtOnce).map((blob) => lookUp(blob, 0, ports)));
    },
    hasManifest: (manifest) => {
      const readAtMs = manifestsReadAtMs.get(keyOf(manifest));
      return readAtMs !== undefined && clock().getTime() < readAtMs + manifest.pod.blobs.proofTtlSeconds * 1000;
    },
    forget,
    forgetMissing: async (blob, askedAt) => {
      // Expired proofs must be forgotten too, because they count again while the Pod fails.
      if ((await lookUp(blob, blob.pod.outage.staleSeconds, ports)) === null) return;
      const newest = ofPod(known.get(keyOf(blob)) ?? null, blob.pod);
      if (newest === null || newest.atMs <= askedAt.getTime()) forget(blob);
    },
  };
}

function remember(key: string, proof: Proof, { memory, cache, waitUntil }: ProofPorts): void {
  memory.known.set(key, proof);
  memory.fromManifests.delete(key);
  waitUntil(cache.write(key, proof));
}

/**
 * Returns where a proof was found that is valid, or that expired less than `staleSeconds` ago. Null if there is none. `unreadable`: the cache gave no
 * answer, and what this isolate remembers is not enough to decide.
 */
async function lookUp(blob: Owned, staleSeconds: number, ports: ProofPorts): Promise<FoundIn | null | "unreadable"> {
  const { memory, cache, clock } = ports;
  const { known, fromManifests } = memory;
  const key = keyOf(blob);
  const own = known.get(key);
  if (own !== undefined && isValid(own, blob.pod, { now: clock(), staleSeconds: 0 })) {
    return own.kind === "manifest" ? "manifest" : "memory";
  }
  const cached = await cache.read(key);
  // Another request may have recorded something while the cache was read.
  const newest = ofPod(latest(known.get(key) ?? null, cached === "unreadable" ? null : cached), blob.pod);
  if (newest !== null) {
    known.set(key, newest);
    fromManifests.delete(key);
    // While the cache cannot be read, an expired proof does not count: the cache may know of a later deletion.
    const now = clock();
    if (isValid(newest, blob.pod, { now, staleSeconds: 0 })) return "cache";
    if (!isValid(newest, blob.pod, { now, staleSeconds })) return null;
    return cached === "unreadable" ? cached : "cache";
  }
  // A proof from a manifest counts only if the cache knows nothing about the blob. A cache that cannot be read may know that the blob was deleted.
  if (cached === "unreadable") return "unreadable";
  const learned = fromManifests.get(key);
  if (learned === undefined) return null;
  remember(key, learned, ports);
  return isValid(learned, blob.pod, { now: clock(), staleSeconds }) ? "manifest" : null;
}

/**
 * Returns the newer one of two proofs or tombstones. In the same millisecond the tombstone wins, because the Pod may have answered the HEAD before
 * the deletion.
 */
export function latest(one: Proof | null, other: Proof | null): Proof | null {
  if (one === null || other === null) return one ?? other;
  if (one.atMs === other.atMs) return other.kind === "tombstone" ? other : one;
  return other.atMs > one.atMs ? other : one;
}
