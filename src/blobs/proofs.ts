import type { Pod } from "../directory/directory.ts";
import { BoundedMap } from "../lib/collections.ts";
import type { Digest } from "../oci/digest.ts";
import type { RepositoryName } from "../oci/repository-name.ts";
import { type Evidence, holds, termsOf } from "./proof.ts";
import type { EvidenceCache } from "./proof-cache.ts";

/** A blob, or a manifest, as one repository of one Pod has it: what is proved for it is proved for no other. */
export type Owned = { readonly pod: Pod; readonly repository: RepositoryName; readonly digest: Digest };

/** Whence a proof came: `manifest` was learned in this isolate, `head` was asked for just now. */
type ProofSource = "memory" | "cache" | "manifest" | "head";

/** What one isolate remembers between requests: values, never promises. */
type ProofMemory = {
  readonly heard: BoundedMap<string, Evidence>;
  /** Learned from manifests, and not yet compared with what the location's cache may know better. */
  readonly lessons: BoundedMap<string, Evidence>;
  /** When a manifest taught its blobs: to look into it again would teach nothing. */
  readonly taughtAtMs: BoundedMap<string, number>;
};

/** A key has up to 600 bytes, mostly 150; all together stay under 15 MB. */
const maxHeard = 20_000;
const maxLessons = 2_000;
const maxManifests = 2_000;

export const createProofMemory = (): ProofMemory => ({
  heard: new BoundedMap(maxHeard),
  lessons: new BoundedMap(maxLessons),
  taughtAtMs: new BoundedMap(maxManifests),
});

export type Proofs = {
  /** A proof that still holds; null: ask the Pod. */
  find(blob: Owned): Promise<Exclude<ProofSource, "head"> | null>;
  /** A HEAD that was asked for at `askedAt` proved it. */
  proved(blob: Owned, askedAt: Date): void;
  /** Manifests prove only what nothing has been heard of yet: what is deleted, or not asked for in a while, is the Pod's to say. */
  teach(manifest: Owned, blobs: readonly Digest[], askedAt: Date): Promise<void>;
  /** Within the life of what it proves. */
  hasTaught(manifest: Owned): boolean;
  /** Deleted: no proof made before counts, and no manifest is believed about it. */
  bury(blob: Owned): void;
  /** The Pod just missed it. That is not remembered of a blob that nothing was heard of. */
  missed(blob: Owned): Promise<void>;
};

type ProofPorts = {
  readonly memory: ProofMemory;
  readonly cache: EvidenceCache;
  readonly clock: () => Date;
  readonly waitUntil: (promise: Promise<unknown>) => void;
};

/** Neither Pod id nor digest has a slash, so no two blobs share a key. */
const keyOf = ({ pod, repository, digest }: Owned): string => `${pod.id}/${repository}/${digest}`;

export function createProofs({ memory: { heard, lessons, taughtAtMs }, cache, clock, waitUntil }: ProofPorts): Proofs {
  const remember = (key: string, evidence: Evidence) => {
    heard.set(key, evidence);
    lessons.delete(key);
    waitUntil(cache.write(key, evidence));
  };
  const find: Proofs["find"] = async (blob) => {
    const key = keyOf(blob);
    const own = heard.get(key);
    if (own !== undefined && holds(own, blob.pod, clock())) return own.kind === "manifest" ? "manifest" : "memory";
    const cached = await cache.read(key);
    // Read again: another request may have heard of it meanwhile.
    const known = latest(heard.get(key), cached ?? undefined);
    if (known !== undefined) {
      heard.set(key, known);
      lessons.delete(key);
      return holds(known, blob.pod, clock()) ? "cache" : null;
    }
    const lesson = lessons.get(key);
    if (lesson === undefined) return null;
    remember(key, lesson);
    return holds(lesson, blob.pod, clock()) ? "manifest" : null;
  };
  const bury: Proofs["bury"] = (blob) =>
    remember(keyOf(blob), { kind: "tombstone", atMs: clock().getTime(), terms: "" });
  return {
    find,
    proved: (blob, askedAt) => {
      const known = heard.get(keyOf(blob));
      // A HEAD that was under way when the blob was deleted says nothing.
      if (known !== undefined && known.atMs >= askedAt.getTime()) return;
      remember(keyOf(blob), { kind: "head", atMs: askedAt.getTime(), terms: termsOf(blob.pod) });
    },
    teach: async (manifest, digests, askedAt) => {
      if (digests.length > 0) taughtAtMs.set(keyOf(manifest), askedAt.getTime());
      const blobs = digests.map((digest) => ({ ...manifest, digest }));
      const unheard = blobs.filter((blob) => heard.get(keyOf(blob)) === undefined);
      for (const blob of unheard) {
        lessons.set(keyOf(blob), { kind: "manifest", atMs: askedAt.getTime(), terms: termsOf(blob.pod) });
      }
      await Promise.all(unheard.map(find));
    },
    hasTaught: (manifest) => {
      const taughtMs = taughtAtMs.get(keyOf(manifest));
      return taughtMs !== undefined && clock().getTime() < taughtMs + manifest.pod.blobs.proofTtlSeconds * 1000;
    },
    bury,
    missed: async (blob) => {
      if ((await find(blob)) !== null) bury(blob);
    },
  };
}

const latest = (one: Evidence | undefined, other: Evidence | undefined): Evidence | undefined =>
  one === undefined || (other !== undefined && other.atMs > one.atMs) ? other : one;
