import type { Pod } from "../directory/directory.ts";
import { BoundedMap } from "../lib/bounded-map.ts";
import type { Digest } from "../oci/digest.ts";
import type { RepositoryName } from "../oci/repository-name.ts";
import { type Evidence, holds, termsOf } from "./evidence.ts";
import type { EvidenceCache } from "./evidence-cache.ts";

/** A blob as one repository of one Pod has it: what is proved for it is proved for no other. */
export type OwnedBlob = { readonly pod: Pod; readonly repository: RepositoryName; readonly digest: Digest };

/** Whence a proof came: `manifest` was learned in this isolate, `head` was asked for just now. */
export type ProofSource = "memory" | "cache" | "manifest" | "head";

/** What one isolate remembers between requests: values, never promises. */
export type ProofMemory = {
  readonly heard: BoundedMap<string, Evidence>;
  /** Learned from manifests, and not yet compared with what the location's cache may know better. */
  readonly lessons: BoundedMap<string, Evidence>;
};

/** A key has up to 600 bytes, mostly 150; both together stay under 15 MB. */
const maxHeard = 20_000;
const maxLessons = 2_000;

export const createProofMemory = (): ProofMemory => ({
  heard: new BoundedMap(maxHeard),
  lessons: new BoundedMap(maxLessons),
});

export type Proofs = {
  /** A proof that still holds; null: ask the Pod. */
  find(blob: OwnedBlob): Promise<Exclude<ProofSource, "head"> | null>;
  /** A HEAD that was asked for at `askedAt` proved it. */
  proved(blob: OwnedBlob, askedAt: Date): void;
  /** Manifests prove only what nothing has been heard of yet: what is deleted, or not asked for in a while, is the Pod's to say. */
  teach(blobs: readonly OwnedBlob[], askedAt: Date): Promise<void>;
  /** Deleted: no proof made before counts, and no manifest is believed about it. */
  bury(blob: OwnedBlob): void;
  /** The Pod just missed it. That is not remembered of a blob that nothing was heard of. */
  missed(blob: OwnedBlob): Promise<void>;
};

export type ProofPorts = {
  readonly memory: ProofMemory;
  readonly cache: EvidenceCache;
  readonly clock: () => Date;
  readonly waitUntil: (promise: Promise<unknown>) => void;
};

/** None of a key's three parts has a space, and neither Pod id nor digest a slash. */
const keyOf = ({ pod, repository, digest }: OwnedBlob): string => `${pod.id}/${repository}/${digest}`;

export function createProofs({ memory: { heard, lessons }, cache, clock, waitUntil }: ProofPorts): Proofs {
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
    teach: async (blobs, askedAt) => {
      const unheard = blobs.filter((blob) => heard.get(keyOf(blob)) === undefined);
      for (const blob of unheard) {
        lessons.set(keyOf(blob), { kind: "manifest", atMs: askedAt.getTime(), terms: termsOf(blob.pod) });
      }
      await Promise.all(unheard.map(find));
    },
    bury,
    missed: async (blob) => {
      if ((await find(blob)) !== null) bury(blob);
    },
  };
}

const latest = (one: Evidence | undefined, other: Evidence | undefined): Evidence | undefined =>
  one === undefined || (other !== undefined && other.atMs > one.atMs) ? other : one;
