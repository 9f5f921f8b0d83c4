import { holderOf, type Owned } from "../blobs/proofs.ts";
import type { Pod } from "../directory/directory.ts";
import type { BoundedMap } from "../lib/collections.ts";
import type { LocationPorts } from "../net/location-cache.ts";
import { deletedAtMs, writeTombstone } from "../net/tombstones.ts";
import { formatKept, type KeptManifest, type ManifestCopy, parseKept, type Source } from "./kept-manifest.ts";

/** What one isolate knows about a manifest: that it was deleted, or where the location's copy comes from (a pull or a push at a Pod). */
type Heard = { readonly what: Source | "deleted"; readonly atMs: number; readonly holder: string };
export type ManifestMemory = BoundedMap<string, Heard>;

/**
 * Copies of manifests in the location's cache, each for one repository at one Pod. A copy is not hashed again when it is read: its key contains the
 * digest, and the Worker hashes each manifest before it writes. Only Workers of the edge's zone can write there.
 */
export type KeptManifests = {
  /**
   * Finds a copy from a pull that is not older than `proofTtlSeconds`. For this time we assume that the Pod still has the manifest, as we do for a
   * blob with a proof.
   */
  find(manifest: Owned): Promise<KeptManifest | null>;
  /**
   * Finds a copy while the Pod fails. The copy may be up to `staleSeconds` older than `find` allows, and may come from a push. If the client asked by
   * a tag, `taggedAtMs` is when the tag was last seen. The Pod had the manifest then, so an older copy counts from then. Finds nothing if the
   * manifest was deleted after that, even if it has been kept again since, because the tag was deleted with the manifest.
   */
  findStale(manifest: Owned, tag?: { readonly taggedAtMs?: number }): Promise<KeptManifest | null>;
  /**
   * Whether a copy from this source should be kept now: if the location has no copy, if its copy must be renewed, or if its copy is from a push and
   * this source is a pull.
   */
  isDue(manifest: Owned, source: Source): boolean;
  /** Resolves when the location's cache has the copy, or cannot take it. */
  keep(manifest: Owned, copy: ManifestCopy): Promise<void>;
  /** Records that the manifest was deleted, so that earlier copies are not served. */
  forget(manifest: Owned): void;
  /**
   * Called when the Pod, asked at `askedAt`, says that it lacks the manifest. Records a deletion if the location's cache cannot be read, or has a
   * copy from before `askedAt`.
   */
  forgetMissing(manifest: Owned, askedAt: Date): Promise<void>;
};

type Ports = LocationPorts & { readonly memory: ManifestMemory };

const freshSeconds = ({ blobs }: Pod): number => blobs.proofTtlSeconds;
const staleSeconds = ({ blobs, outage }: Pod): number => blobs.proofTtlSeconds + outage.staleSeconds;
/**
 * A copy that has lived for a quarter of its time is replaced when the Pod next sends the manifest. A GET by tag always goes to the Pod, so a copy
 * does not expire while clients pull the tag.
 */
const renewedAfterMs = (pod: Pod): number => ((freshSeconds(pod) || staleSeconds(pod)) / 4) * 1000;

/**
 * The cache keeps a copy for longer than it is fresh or stale. So an operator may raise `staleSeconds` during an outage, and a tag is served although
 * clients have asked for it only by HEAD for days. A copy of more than a day counts only for a tag that the Pod has named since.
 */
const keepSeconds = 7 * 24 * 3600;

/**
 * The key names no Pod, so that a tombstone counts at each Pod. Otherwise, when a repository returns to a Pod, an old copy from this Pod would be
 * served, although the manifest was deleted at the other Pod. A digest has no slash, so no two manifests share a key.
 */
const keyOf = ({ repository, digest }: Owned): string => `manifest/${repository}/${digest}`;

export function createKeptManifests({ memory, cache, clock, waitUntil }: Ports): KeptManifests {
  const readWithin = async (
    manifest: Owned,
    { seconds, sources, taggedAtMs }: Wanted,
  ): Promise<KeptManifest | null> => {
    if (seconds === 0) return null;
    const kept = await readKept(keyOf(manifest), { memory, cache, taggedAtMs });
    if (kept === null || kept === "unreadable") return null;
    const seenAtMs = Math.max(kept.atMs, taggedAtMs ?? 0);
    const isOver = clock().getTime() >= seenAtMs + seconds * 1000 || kept.holder !== holderOf(manifest.pod);
    if (!isOver && sources.includes(kept.source)) return kept;
    await kept.body?.cancel();
    return null;
  };
  const find: KeptManifests["find"] = (manifest) =>
    readWithin(manifest, { seconds: freshSeconds(manifest.pod), sources: ["pull"] });
  const write = async (manifest: Owned, copy: ManifestCopy): Promise<void> => {
    const better = copy.source === "push" ? await find(manifest) : null;
    await better?.body?.cancel();
    if (better !== null) return;
    await cache.put(keyOf(manifest), formatKept(copy, holderOf(manifest.pod)), keepSeconds);
  };
  const forget = (manifest: Owned, at = clock()): void => {
    const atMs = at.getTime();
    memory.set(keyOf(manifest), { what: "deleted", atMs, holder: holderOf(manifest.pod) });
    waitUntil(writeTombstone(cache, keyOf(manifest), { atMs }));
  };
  return {
    find,
    findStale: (manifest, tag) =>
      readWithin(manifest, { ...tag, seconds: staleSeconds(manifest.pod), sources: ["pull", "push"] }),
    isDue: (manifest, source) => {
      const { pod } = manifest;
      const heard = memory.get(keyOf(manifest));
      const isKept = heard !== undefined && heard.what !== "deleted" && heard.holder === holderOf(pod);
      if (!isKept) return staleSeconds(pod) > 0;
      if (heard.what === "push" && source === "pull") return true;
      return clock().getTime() >= heard.atMs + renewedAfterMs(pod);
    },
    keep: async (manifest, copy) => {
      const atMs = copy.askedAt.getTime();
      if (deletedHereAtMs(memory, keyOf(manifest)) >= atMs) return;
      memory.set(keyOf(manifest), { what: copy.source, atMs, holder: holderOf(manifest.pod) });
      await write(manifest, copy);
    },
    forget: (manifest) => forget(manifest),
    forgetMissing: async (manifest, askedAt) => {
      const kept = await readKept(keyOf(manifest), { memory, cache });
      if (kept === null) return;
      if (kept === "unreadable") return forget(manifest);
      await kept.body?.cancel();
      // A Pod that lacks the manifest says nothing about a copy from another Pod, or about a copy that is newer than this answer.
      if (kept.holder === holderOf(manifest.pod) && kept.atMs <= askedAt.getTime()) forget(manifest, askedAt);
    },
  };
}

type Wanted = {
  readonly seconds: number;
  readonly sources: readonly Source[];
  readonly taggedAtMs?: number | undefined;
};

const deletedHereAtMs = (memory: ManifestMemory, key: string): number => {
  const heard = memory.get(key);
  return heard?.what === "deleted" ? heard.atMs : 0;
};

type ReadPorts = Pick<Ports, "memory" | "cache"> & Pick<Wanted, "taggedAtMs">;

/**
 * Returns the location's copy. Null if there is none, or if the manifest's deletion is newer than the request for the copy or than `taggedAtMs` (see
 * `findStale`).
 */
async function readKept(
  key: string,
  { memory, cache, taggedAtMs = Number.POSITIVE_INFINITY }: ReadPorts,
): Promise<KeptManifest | null | "unreadable"> {
  const [found, deleted] = await Promise.all([cache.match(key), deletedAtMs(cache, key)]);
  if (found === "unreadable") return found;
  const kept = found === null ? null : parseKept(found);
  // If the location has lost its copy, or the manifest was deleted after the copy was made, this isolate must forget that there is a copy. Otherwise
  // the edge would not keep the manifest again when the Pod next sends it.
  const isGone = kept === null || (deleted !== "unreadable" && kept.atMs <= deleted);
  if (isGone && memory.get(key)?.what !== "deleted") memory.delete(key);
  const aliveAtMs = Math.min(kept?.atMs ?? 0, taggedAtMs);
  if (deleted !== "unreadable" && aliveAtMs > Math.max(deleted, deletedHereAtMs(memory, key))) return kept;
  await found?.body?.cancel();
  return kept !== null && deleted === "unreadable" ? deleted : null;
}
