import * as v from "valibot";
import { holderOf } from "../blobs/proofs.ts";
import type { Pod } from "../directory/directory.ts";
import type { BoundedMap } from "../lib/collections.ts";
import { type LocationPorts, readCached } from "../net/location-cache.ts";
import { deletedAtMs, writeTombstone } from "../net/tombstones.ts";
import { type Digest, parseDigest } from "../oci/digest.ts";
import type { Tag } from "../oci/reference.ts";
import type { RepositoryName } from "../oci/repository-name.ts";

export type Tagged = { readonly pod: Pod; readonly repository: RepositoryName; readonly tag: Tag };

const seenSchema = v.strictObject({
  digest: v.pipe(
    v.string(),
    v.check((text) => parseDigest(text).ok),
    v.transform((text) => text as Digest),
  ),
  atMs: v.number(),
  /** The Pod that gave this digest, and its registry (see `holderOf`). */
  holder: v.string(),
});

/** The digest of a tag, and when the Pod gave it. */
type Seen = v.InferOutput<typeof seenSchema>;

/**
 * What one isolate knows about tags. A null digest means that the tag was deleted. `comparedAtMs` is when the isolate last compared what it knows
 * with the location's cache.
 */
export type TagMemory = BoundedMap<
  string,
  Omit<Seen, "digest"> & { readonly digest: Digest | null; readonly comparedAtMs: number }
>;

/** The digest that each tag had when it last passed this location. It is used only while the Pod fails, because a tag may move at any time. */
export type SeenTags = {
  /** Returns the digest that the tag had last, and when. Null if no digest is known, or if it was seen more than the Pod's `staleSeconds` ago. */
  find(tagged: Tagged): Promise<Pick<Seen, "digest" | "atMs"> | null>;
  /** Records the digest that the Pod gave for the tag when it was asked at `askedAt`. */
  record(tagged: Tagged, digest: Digest, askedAt: Date): void;
  /** Records that a push has just moved the tag to this digest. */
  move(tagged: Tagged, digest: Digest): void;
  /** Records that the tag was deleted, or moved to an unknown digest. */
  forget(tagged: Tagged): void;
  /**
   * Called when the Pod says that it does not have the tag. Records a deletion if the location remembers a digest of the tag, or if its cache cannot
   * be read.
   */
  forgetMissing(tagged: Tagged): Promise<void>;
};

type Ports = LocationPorts & { readonly memory: TagMemory };

/** The cache keeps a digest for a day, because it replaces that of an earlier Pod, whose `staleSeconds` may be longer. */
const keepSeconds = 24 * 3600;

/**
 * A pull that finds a tag unchanged starts its `staleSeconds` anew in this isolate. In the location's cache this is a write, so it waits there for
 * this share of `staleSeconds`.
 */
const renewedAfter = 1 / 8;

/**
 * An isolate compares an unchanged tag with the location's cache once in this time. Another isolate may have written a digest there that the Pod has
 * withdrawn since.
 */
const comparedAfterMs = 60_000;

/**
 * The key names no Pod, so that a change at one Pod counts at each Pod: otherwise the tag's old digest would count again when the repository returns.
 * A tag has no slash, so no two tags share a key.
 */
const keyOf = ({ repository, tag }: Tagged): string => `tag/${repository}/${tag}`;

export function createSeenTags({ memory, cache, clock, waitUntil }: Ports): SeenTags {
  /** Returns the digest that any isolate of the location saw last for the tag. Null if there is none, or if the tag was deleted after that. */
  const read = async (key: string): Promise<Seen | null | "unreadable"> => {
    const [cached, deleted] = await Promise.all([readCached(cache, key, seenSchema), deletedAtMs(cache, key)]);
    if (cached === "unreadable" || deleted === "unreadable") return "unreadable";
    const own = memory.get(key);
    const newest = own === undefined || (cached !== null && cached.atMs > own.atMs) ? cached : own;
    if (newest === null || newest.digest === null || newest.atMs <= deleted) return null;
    return { ...newest, digest: newest.digest };
  };
  /** Writes to the cache, unless the cache has the same digest and that is less than `renewedAfterMs` older. */
  const write = async (tagged: Tagged, seen: Seen, renewedAfterMs: number): Promise<void> => {
    const key = keyOf(tagged);
    const [cached, deleted] = await Promise.all([readCached(cache, key, seenSchema), deletedAtMs(cache, key)]);
    // Another isolate may have written a newer digest, for example after a push. We do not overwrite it.
    if (cached === "unreadable" || (cached !== null && cached.atMs > seen.atMs)) return;
    // This isolate may have heard of a newer digest while it waited for the cache, and writes that digest too, maybe before this one.
    const heard = memory.get(key);
    if (heard !== undefined && heard.atMs > seen.atMs && heard.digest !== seen.digest) return;
    const isSame = cached?.digest === seen.digest && cached.holder === seen.holder;
    const isAlive = isSame && deleted !== "unreadable" && cached.atMs > deleted;
    if (isAlive && seen.atMs < cached.atMs + renewedAfterMs) return;
    await cache.put(key, Response.json(seen), keepSeconds);
  };
  const remember = (tagged: Tagged, { digest, atMs }: Pick<Seen, "digest" | "atMs">, renewedAfterMs: number): void => {
    const seen = { digest, atMs, holder: holderOf(tagged.pod) };
    memory.set(keyOf(tagged), { ...seen, comparedAtMs: atMs });
    waitUntil(write(tagged, seen, renewedAfterMs));
  };
  const forget: SeenTags["forget"] = (tagged) => {
    const atMs = clock().getTime();
    memory.set(keyOf(tagged), { digest: null, atMs, holder: holderOf(tagged.pod), comparedAtMs: atMs });
    waitUntil(writeTombstone(cache, keyOf(tagged), { atMs }));
  };
  return {
    find: async (tagged) => {
      const seen = await read(keyOf(tagged));
      if (seen === null || seen === "unreadable" || seen.holder !== holderOf(tagged.pod)) return null;
      return clock().getTime() < seen.atMs + lifeMsOf(tagged) ? seen : null;
    },
    record: (tagged, digest, askedAt) => {
      const known = memory.get(keyOf(tagged));
      const atMs = askedAt.getTime();
      if (lifeMsOf(tagged) === 0 || (known !== undefined && known.atMs >= atMs)) return;
      const isKnown = known?.digest === digest && known.holder === holderOf(tagged.pod);
      const renewedAfterMs = lifeMsOf(tagged) * renewedAfter;
      if (isKnown && atMs < known.comparedAtMs + Math.min(comparedAfterMs, renewedAfterMs)) {
        memory.set(keyOf(tagged), { ...known, atMs });
      } else remember(tagged, { digest, atMs }, renewedAfterMs);
    },
    move: (tagged, digest) => {
      // The cache may have an earlier digest, from another Pod or from before `staleSeconds` became 0.
      if (lifeMsOf(tagged) === 0) return forget(tagged);
      // The same digest is written too, because what the cache has may be older than a deletion of the tag's manifest (see `findStale`).
      return remember(tagged, { digest, atMs: clock().getTime() }, 0);
    },
    forget,
    forgetMissing: async (tagged) => {
      const seen = await read(keyOf(tagged));
      // A Pod that lacks the tag says nothing about its digest at another Pod.
      if (seen === "unreadable" || seen?.holder === holderOf(tagged.pod)) forget(tagged);
    },
  };
}

const lifeMsOf = ({ pod }: Tagged): number => pod.outage.staleSeconds * 1000;
