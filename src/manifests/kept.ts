import type { Owned } from "../blobs/proofs.ts";
import type { Pod } from "../directory/directory.ts";
import type { BoundedMap } from "../lib/collections.ts";
import type { LocationCache } from "../net/location-cache.ts";
import { deletedAtMs, writeTombstone } from "../net/tombstones.ts";
import { formatKept, type KeptManifest, type ManifestCopy, parseKept, type Source } from "./kept-manifest.ts";

/** What one isolate knows of a manifest: which copy it has seen the location keep, or that it was deleted. */
type Heard = { readonly what: Source | "deleted"; readonly atMs: number };
export type ManifestMemory = BoundedMap<string, Heard>;

/**
 * Manifests of one repository of one Pod, in the location's cache. A copy is not hashed again when it is read, because only this Worker can write under
 * its key, which has the digest, and it writes what it has hashed.
 */
export type KeptManifests = {
  /** A copy that the Pod would still answer with, as far as a proof can be relied on. */
  find(manifest: Owned): Promise<KeptManifest | null>;
  /**
   * Also a copy that has expired, or was pushed and not pulled since: while the Pod fails, until its `staleSeconds` are over. With `taggedAtMs`, only if the
   * manifest was not deleted since, because its tags go with it.
   */
  findStale(manifest: Owned, tag?: { readonly taggedAtMs?: number }): Promise<KeptManifest | null>;
  /** Whether a copy that comes from there should be kept, because none is or the one that is has aged. */
  isDue(manifest: Owned, source: Source): boolean;
  keep(manifest: Owned, copy: ManifestCopy): void;
  /** It was deleted: no earlier copy counts. */
  forget(manifest: Owned): void;
  /** The Pod just said that it lacks it. This is remembered only of a manifest that is kept, or may be. */
  forgetMissing(manifest: Owned): Promise<void>;
};

type Ports = {
  readonly memory: ManifestMemory;
  readonly cache: LocationCache;
  readonly clock: () => Date;
  readonly waitUntil: (promise: Promise<unknown>) => void;
};

const freshSeconds = ({ blobs }: Pod): number => blobs.proofTtlSeconds;
const staleSeconds = ({ blobs, outage }: Pod): number => blobs.proofTtlSeconds + outage.staleSeconds;
/** A copy in use is written again after a part of its time, so that it does not expire while its tag is pulled. */
const renewedAfterMs = (pod: Pod): number => ((freshSeconds(pod) || staleSeconds(pod)) / 4) * 1000;

/** Neither a Pod id nor a digest has a slash, so no two manifests share a key. */
const keyOf = ({ pod, repository, digest }: Owned): string => `manifest/${pod.id}/${repository}/${digest}`;

export function createKeptManifests({ memory, cache, clock, waitUntil }: Ports): KeptManifests {
  const readWithin = async (
    manifest: Owned,
    { seconds, sources, taggedAtMs }: Wanted,
  ): Promise<KeptManifest | null> => {
    if (seconds === 0) return null;
    const kept = await readKept(keyOf(manifest), { memory, cache, taggedAtMs });
    if (kept === null || kept === "unreadable") return null;
    const isOver = clock().getTime() >= kept.atMs + seconds * 1000 || kept.registry !== manifest.pod.registry;
    if (!isOver && sources.includes(kept.source)) return kept;
    await kept.body?.cancel();
    return null;
  };
  const find: KeptManifests["find"] = (manifest) =>
    readWithin(manifest, { seconds: freshSeconds(manifest.pod), sources: ["pull"] });
  const write = async (manifest: Owned, copy: ManifestCopy): Promise<void> => {
    const better = copy.source === "push" ? await find(manifest) : null;
    await better?.body?.cancel();
    const { registry } = manifest.pod;
    if (better === null) await cache.put(keyOf(manifest), formatKept(copy, registry), staleSeconds(manifest.pod));
  };
  const forget: KeptManifests["forget"] = (manifest) => {
    const atMs = clock().getTime();
    memory.set(keyOf(manifest), { what: "deleted", atMs });
    waitUntil(writeTombstone(cache, keyOf(manifest), atMs));
  };
  return {
    find,
    findStale: (manifest, tag) =>
      readWithin(manifest, { ...tag, seconds: staleSeconds(manifest.pod), sources: ["pull", "push"] }),
    isDue: (manifest, source) => {
      const { pod } = manifest;
      const heard = memory.get(keyOf(manifest));
      if (heard === undefined || heard.what === "deleted") return staleSeconds(pod) > 0;
      if (heard.what === "push" && source === "pull") return true;
      return clock().getTime() >= heard.atMs + renewedAfterMs(pod);
    },
    keep: (manifest, copy) => {
      const atMs = copy.askedAt.getTime();
      // What was under way while it was deleted proves nothing.
      if (deletedHereAtMs(memory, keyOf(manifest)) >= atMs) return;
      memory.set(keyOf(manifest), { what: copy.source, atMs });
      waitUntil(write(manifest, copy));
    },
    forget,
    forgetMissing: async (manifest) => {
      const kept = await readKept(keyOf(manifest), { memory, cache });
      if (kept === null) return;
      if (kept !== "unreadable") await kept.body?.cancel();
      forget(manifest);
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

/** The copy that the location has, unless the manifest was deleted after it was asked for, or after it was tagged. */
async function readKept(
  key: string,
  { memory, cache, taggedAtMs = Number.POSITIVE_INFINITY }: ReadPorts,
): Promise<KeptManifest | null | "unreadable"> {
  const [found, deleted] = await Promise.all([cache.match(key), deletedAtMs(cache, key)]);
  if (found === "unreadable") return found;
  const kept = found === null ? null : parseKept(found);
  // The location has lost the copy that this isolate has seen, so the next one that passes is due.
  if (kept === null && memory.get(key)?.what !== "deleted") memory.delete(key);
  const aliveAtMs = Math.min(kept?.atMs ?? 0, taggedAtMs);
  if (deleted !== "unreadable" && aliveAtMs > Math.max(deleted, deletedHereAtMs(memory, key))) return kept;
  await found?.body?.cancel();
  return kept !== null && deleted === "unreadable" ? deleted : null;
}
