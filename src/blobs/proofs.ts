import * as v from "valibot";
import type { Pod } from "../directory/directory.ts";
import type { BoundedMap } from "../lib/collections.ts";
import type { Digest } from "../oci/digest.ts";
import type { RepositoryName } from "../oci/repository-name.ts";

/** A blob or a manifest in one repository of one Pod. Its proof counts for no other repository, Pod or digest. */
export type Owned = { readonly pod: Pod; readonly repository: RepositoryName; readonly digest: Digest };

/**
 * The last thing that the edge learned about a digest in one repository of one Pod. `head`: the Pod answered a HEAD, and has the digest. `manifest`:
 * a manifest of this repository names the digest. `tombstone`: the digest was deleted, or the Pod lacks it.
 */
export type Proof = v.InferOutput<typeof proofSchema>;

const proofSchema = v.strictObject({
  kind: v.picklist(["head", "manifest", "tombstone"]),
  /** When the Pod was asked. A tombstone has the time after the Pod's answer. */
  atMs: v.number(),
  terms: v.string(),
});

/** Null for text that is not a proof, because a cache may hold anything. */
export function parseProof(text: string): Proof | null {
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), proofSchema), text);
  return parsed.success ? parsed.output : null;
}

/** The part of a Pod's record on which a proof depends. If the registry or the way to prove changes, the proof no longer counts. */
const termsOf = ({ registry, blobs }: Pod): string => `${registry} ${blobs.proof}`;

type Age = {
  readonly now: Date;
  /** For how many seconds after its expiry a proof still counts. */
  readonly staleSeconds: number;
};

const isValid = ({ kind, atMs, terms }: Proof, pod: Pod, { now, staleSeconds }: Age): boolean =>
  kind !== "tombstone" &&
  terms === termsOf(pod) &&
  now.getTime() < atMs + (pod.blobs.proofTtlSeconds + staleSeconds) * 1000;

/** Where a proof was found. `manifest`: this isolate learned it from a manifest. */
type FoundIn = "memory" | "cache" | "manifest";

/** What one isolate remembers between requests: values, never promises. */
export type ProofMemory = {
  readonly known: BoundedMap<string, Proof>;
  /**
   * Proofs from manifests that do not count yet. Before one counts, we must look in the location's cache, which may know that the blob was deleted.
   */
  readonly fromManifests: BoundedMap<string, Proof>;
  /** When a manifest's blobs were recorded, so that the manifest is not read again while these proofs are valid. */
  readonly manifestsReadAtMs: BoundedMap<string, number>;
};

export type Proofs = {
  /** Where a valid proof was found; null if there is none and the Pod must be asked. */
  find(blob: Owned): Promise<FoundIn | null>;
  /** Like `find`, but for a Pod that fails. A proof then counts for `staleSeconds` longer. */
  findStale(blob: Owned): Promise<FoundIn | null>;
  /** Records that a HEAD that was sent at `askedAt` proved the blob. */
  record(blob: Owned, askedAt: Date): void;
  /**
   * Records that a manifest names these blobs. This proves only blobs about which the edge knows nothing yet. If a blob was deleted or its proof has
   * expired, the Pod must be asked.
   */
  recordManifest(manifest: Owned, blobs: readonly Digest[], askedAt: Date): Promise<void>;
  /** Whether this manifest's blobs were recorded within the last `proofTtlSeconds`. */
  hasManifest(manifest: Owned): boolean;
  /** Records that the blob was deleted. No earlier proof counts any more, and no manifest proves the blob. */
  forget(blob: Owned): void;
  /** Forgets a blob that the Pod has just said it lacks. Does nothing if the edge is sure that it has no proof that could still count. */
  forgetMissing(blob: Owned): Promise<void>;
};

/** A cache that the isolates of one location share. It may lose entries at any time, and it may fail. */
export type ProofCache = {
  /**
   * Returns the last thing that is known about the blob; null if nothing is known. `unreadable`: the cache cannot say, so there may be a tombstone.
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

/** Neither a Pod id nor a digest has a slash, so no two blobs share a key. */
const keyOf = ({ pod, repository, digest }: Owned): string => `${pod.id}/${repository}/${digest}`;

/**
 * How many of a manifest's blobs are looked up in the location's cache at once. Each blob costs three calls of the cache, and a request may make 50
 * calls in all (Workers' free plan).
 */
const maxComparedAtOnce = 12;

export function createProofs(ports: ProofPorts): Proofs {
  const { memory, clock } = ports;
  const { known, manifestsReadAtMs } = memory;
  const find: Proofs["find"] = async (blob) => {
    const found = await lookUp(blob, 0, ports);
    return found === "unreadable" ? null : found;
  };
  const forget: Proofs["forget"] = (blob) =>
    remember(keyOf(blob), { kind: "tombstone", atMs: clock().getTime(), terms: "" }, ports);
  return {
    find,
    findStale: async (blob) => {
      const found = await lookUp(blob, blob.pod.outage.staleSeconds, ports);
      return found === "unreadable" ? null : found;
    },
    record: (blob, askedAt) => {
      const newest = known.get(keyOf(blob));
      // A HEAD that was under way while the blob was deleted proves nothing.
      if (newest !== undefined && newest.atMs >= askedAt.getTime()) return;
      remember(keyOf(blob), { kind: "head", atMs: askedAt.getTime(), terms: termsOf(blob.pod) }, ports);
    },
    recordManifest: async (manifest, digests, askedAt) => {
      if (digests.length > 0) manifestsReadAtMs.set(keyOf(manifest), askedAt.getTime());
      const blobs = digests.map((digest) => ({ ...manifest, digest }));
      const unheard = blobs.filter((blob) => known.get(keyOf(blob)) === undefined);
      for (const blob of unheard) {
        const proof: Proof = { kind: "manifest", atMs: askedAt.getTime(), terms: termsOf(blob.pod) };
        memory.fromManifests.set(keyOf(blob), proof);
      }
      // Looks the first blobs up in the location's cache now. Each of the others is looked up when a client asks for it.
      await Promise.all(unheard.slice(0, maxComparedAtOnce).map(find));
    },
    hasManifest: (manifest) => {
      const readAtMs = manifestsReadAtMs.get(keyOf(manifest));
      return readAtMs !== undefined && clock().getTime() < readAtMs + manifest.pod.blobs.proofTtlSeconds * 1000;
    },
    forget,
    forgetMissing: async (blob) => {
      // We look for expired proofs too, because an expired proof counts again while the Pod fails.
      if ((await lookUp(blob, blob.pod.outage.staleSeconds, ports)) !== null) forget(blob);
    },
  };
}

function remember(key: string, proof: Proof, { memory, cache, waitUntil }: ProofPorts): void {
  memory.known.set(key, proof);
  memory.fromManifests.delete(key);
  waitUntil(cache.write(key, proof));
}

/**
 * Returns where a proof was found. The proof is valid, or it expired less than `staleSeconds` ago. `unreadable`: the cache cannot say whether the
 * blob was deleted, so no proof counts.
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
  const newest = latest(known.get(key) ?? null, cached === "unreadable" ? null : cached);
  if (newest !== null) {
    known.set(key, newest);
    fromManifests.delete(key);
    // An expired proof counts only if the cache can be read, because the cache may know that the blob was deleted later.
    const now = clock();
    if (isValid(newest, blob.pod, { now, staleSeconds: 0 })) return "cache";
    if (!isValid(newest, blob.pod, { now, staleSeconds })) return null;
    return cached === "unreadable" ? cached : "cache";
  }
  // A proof from a manifest counts only if the cache can be read and knows nothing about the blob.
  if (cached === "unreadable") return "unreadable";
  const learned = fromManifests.get(key);
  if (learned === undefined) return null;
  remember(key, learned, ports);
  return isValid(learned, blob.pod, { now: clock(), staleSeconds }) ? "manifest" : null;
}

/**
 * Returns the newer of the two. If both are of the same millisecond, the tombstone wins, because the HEAD may have been answered before the deletion.
 */
export function latest(one: Proof | null, other: Proof | null): Proof | null {
  if (one === null || other === null) return one ?? other;
  if (one.atMs === other.atMs) return other.kind === "tombstone" ? other : one;
  return other.atMs > one.atMs ? other : one;
}
