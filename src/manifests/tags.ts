import * as v from "valibot";
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
  /** The URL of the registry that gave this digest. The digest counts only while the Pod has this registry. */
  registry: v.string(),
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

/**
 * A tag is remembered for the Pod's `staleSeconds`. A pull that finds the tag unchanged starts this time anew in this isolate. In the location's
 * cache, this is a write, so it starts anew there only after this share of `staleSeconds`.
 */
const renewedAfter = 1 / 8;

/**
 * An isolate that finds a tag unchanged compares it with the location's cache only if this time has passed. Another isolate may have written a digest
 * there that the Pod has withdrawn since.
 */
const comparedAfterMs = 60_000;

/** Neither a Pod id nor a tag has a slash, so no two tags share a key. */
const keyOf = ({ pod, repository, tag }: Tagged): string => `tag/${pod.id}/${repository}/${tag}`;

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
    const isSame = cached?.digest === seen.digest && cached.registry === seen.registry;
    const isAlive = isSame && deleted !== "unreadable" && cached.atMs > deleted;
    if (isAlive && seen.atMs < cached.atMs + renewedAfterMs) return;
    await cache.put(key, Response.json(seen), tagged.pod.outage.staleSeconds);
  };
  const remember = (tagged: Tagged, { digest, atMs }: Pick<Seen, "digest" | "atMs">, renewedAfterMs: number): void => {
    if (lifeMsOf(tagged) === 0) return;
    const seen = { digest, atMs, registry: tagged.pod.registry };
    memory.set(keyOf(tagged), { ...seen, comparedAtMs: atMs });
    waitUntil(write(tagged, seen, renewedAfterMs));
  };
  const forget: SeenTags["forget"] = (tagged) => {
    const atMs = clock().getTime();
    memory.set(keyOf(tagged), { digest: null, atMs, registry: tagged.pod.registry, comparedAtMs: atMs });
    waitUntil(writeTombstone(cache, keyOf(tagged), { atMs }));
  };
  return {
    find: async (tagged) => {
      const seen = await read(keyOf(tagged));
      if (seen === null || seen === "unreadable" || seen.registry !== tagged.pod.registry) return null;
      return clock().getTime() < seen.atMs + lifeMsOf(tagged) ? seen : null;
    },
    record: (tagged, digest, askedAt) => {
      const known = memory.get(keyOf(tagged));
      const atMs = askedAt.getTime();
      if (known !== undefined && known.atMs >= atMs) return;
      const isKnown = known?.digest === digest && known.registry === tagged.pod.registry;
      const renewedAfterMs = lifeMsOf(tagged) * renewedAfter;
      if (isKnown && atMs < known.comparedAtMs + Math.min(comparedAfterMs, renewedAfterMs)) {
        memory.set(keyOf(tagged), { ...known, atMs });
      } else remember(tagged, { digest, atMs }, renewedAfterMs);
    },
    // A push is always written, because an earlier entry may be older than a deletion of the tag's manifest (see `findStale`).
    move: (tagged, digest) => remember(tagged, { digest, atMs: clock().getTime() }, 0),
    forget,
    forgetMissing: async (tagged) => {
      if ((await read(keyOf(tagged))) !== null) forget(tagged);
    },
  };
}

const lifeMsOf = ({ pod }: Tagged): number => pod.outage.staleSeconds * 1000;
