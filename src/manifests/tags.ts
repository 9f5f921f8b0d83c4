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
  digest: v.custom<Digest>((text) => typeof text === "string" && parseDigest(text).ok),
  /** When the Pod was asked. A deletion after this time may have removed the tag. */
  askedAtMs: v.number(),
  /** The time from which this digest counts: for a push, when the Pod answered; for a pull, `askedAtMs`. */
  atMs: v.number(),
  /** The Pod that gave this digest, and its registry (see `holderOf`). */
  holder: v.string(),
});

type Seen = v.InferOutput<typeof seenSchema>;

/**
 * What one isolate knows about a tag. A null digest means that the tag was deleted, or moved to an unknown digest. `comparedAtMs` is when the isolate
 * last compared what it knows with the location's cache.
 */
type Heard = Omit<Seen, "digest"> & { readonly digest: Digest | null; readonly comparedAtMs: number };
export type TagMemory = BoundedMap<string, Heard>;

/** The digest that each tag had when it last passed this location. It is used only while the Pod fails, because a tag may move at any time. */
export type SeenTags = {
  /**
   * Returns the digest that the tag had last, and when the Pod was asked for it. Null if no digest is known, or if it was seen more than the Pod's
   * `staleSeconds` ago.
   */
  find(tagged: Tagged): Promise<Pick<Seen, "digest" | "askedAtMs"> | null>;
  record(tagged: Tagged, digest: Digest, askedAt: Date): void;
  /**
   * Records that a push has moved the tag to this digest. The push was sent at `askedAt`, and its answer has just come. If the tag was deleted or got
   * another digest in the meantime, the order of these changes at the Pod is unknown. Then the tag is forgotten. It is also forgotten if the
   * location's cache cannot be read.
   */
  move(tagged: Tagged, digest: Digest, askedAt: Date): void;
  /** Records that the tag was deleted, or moved to an unknown digest. */
  forget(tagged: Tagged): void;
  /**
   * Called when the Pod, asked at `askedAt`, says that it does not have the tag. Records a deletion if the location remembers that this Pod gave a
   * digest of the tag before, or if the location's cache cannot be read.
   */
  forgetMissing(tagged: Tagged, askedAt: Date): Promise<void>;
};

type Ports = LocationPorts & { readonly memory: TagMemory };

/**
 * The cache keeps a tag's newest digest for a day, which is longer than any Pod's `staleSeconds`. An isolate may still remember an older digest from
 * an earlier Pod. The newest digest must stay in the cache for as long as an older one could count.
 */
const keepSeconds = 24 * 3600;

/**
 * If a pull finds a tag unchanged, the tag's `staleSeconds` start anew in this isolate at once. In the location's cache, where this costs a write,
 * they start anew only after this share of `staleSeconds`.
 */
const renewedAfter = 1 / 8;

/**
 * Between two pulls of an isolate, a tag may be moved and moved back, and another isolate may cache the digest in between. So if a pull finds a tag
 * unchanged, the isolate compares its own digest with the location's cache, but only once in this time.
 */
const comparedAfterMs = 60_000;

/**
 * If a repository goes to another Pod and later returns, a tag's digest from before must not count again. So the key names no Pod. A tag has no
 * slash, so no two tags share a key.
 */
const keyOf = ({ repository, tag }: Tagged): string => `tag/${repository}/${tag}`;

export function createSeenTags({ memory, cache, clock, waitUntil }: Ports): SeenTags {
  /**
   * Writes to the cache, unless the cache cannot be read or a newer digest is known. An entry with the same digest and Pod is written again only
   * after `renewedAfterMs`, or if the tag may have been deleted since.
   */
  const write = async (tagged: Tagged, seen: Seen, renewedAfterMs: number): Promise<void> => {
    const key = keyOf(tagged);
    const [cached, deleted] = await Promise.all([readCached(cache, key, seenSchema), deletedAtMs(cache, key)]);
    // While this call waited for the cache, the isolate may have heard of a newer digest or a deletion, and may have written that already. So we do
    // not write this older digest.
    const heard = memory.get(key);
    if (heard !== undefined && heard.atMs > seen.atMs && heard.digest !== seen.digest) return;
    // If this is a push (`renewedAfterMs` is 0), the cache may still have the tag's earlier digest, which no isolate may use any more.
    if (cached === "unreadable") return renewedAfterMs === 0 ? forget(tagged) : undefined;
    // Another isolate may have written a newer digest, for example after a push.
    if (cached !== null && cached.atMs > seen.atMs) return;
    if (cached !== null && isBetween(cached, seen)) return forget(tagged);
    const isSame = cached?.digest === seen.digest && cached.holder === seen.holder;
    const isAlive = isSame && deleted !== "unreadable" && cached.askedAtMs > deleted;
    if (isAlive && seen.atMs < cached.atMs + renewedAfterMs) return;
    await cache.put(key, Response.json(seen), keepSeconds);
  };
  const remember = (tagged: Tagged, heard: Omit<Seen, "holder">, renewedAfterMs: number): void => {
    const seen = { ...heard, holder: holderOf(tagged.pod) };
    memory.set(keyOf(tagged), { ...seen, comparedAtMs: seen.atMs });
    waitUntil(write(tagged, seen, renewedAfterMs));
  };
  const forget = (tagged: Tagged, at = clock()): void => {
    const atMs = at.getTime();
    const holder = holderOf(tagged.pod);
    memory.set(keyOf(tagged), { digest: null, askedAtMs: atMs, atMs, holder, comparedAtMs: atMs });
    waitUntil(writeTombstone(cache, keyOf(tagged), { atMs }));
  };
  return {
    find: async (tagged) => {
      const seen = await readNewest(keyOf(tagged), { memory, cache });
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
        memory.set(keyOf(tagged), { ...known, askedAtMs: atMs, atMs });
      } else remember(tagged, { digest, askedAtMs: atMs, atMs }, renewedAfterMs);
    },
    move: (tagged, digest, askedAt) => {
      const pushed = { digest, askedAtMs: askedAt.getTime(), atMs: clock().getTime() };
      const known = memory.get(keyOf(tagged));
      if (known !== undefined && isBetween(known, pushed)) return forget(tagged);
      // If the Pod's `staleSeconds` is 0, the new digest is not kept. The cache may have an earlier digest, from another Pod or from before
      // `staleSeconds` became 0. That digest is no longer the tag's, so it is forgotten.
      if (lifeMsOf(tagged) === 0) return forget(tagged);
      // The manifest may have been deleted before this push, and a tag that was last seen before a deletion is not served (see
      // `KeptManifests.findStale`). So with 0, the push's time is written even if the cache has the same digest.
      return remember(tagged, pushed, 0);
    },
    forget: (tagged) => forget(tagged),
    forgetMissing: async (tagged, askedAt) => {
      const seen = await readNewest(keyOf(tagged), { memory, cache });
      if (seen === "unreadable") return forget(tagged);
      // Another Pod's digest stays, because that Pod may still have the tag. A digest that is newer than this answer stays too.
      if (seen?.holder === holderOf(tagged.pod) && seen.atMs <= askedAt.getTime()) forget(tagged, askedAt);
    },
  };
}

/** Returns the digest that any isolate of the location saw last for the tag. Null if there is none, or if the tag was deleted after that. */
async function readNewest(
  key: string,
  { memory, cache }: Pick<Ports, "memory" | "cache">,
): Promise<Seen | null | "unreadable"> {
  const [cached, deleted] = await Promise.all([readCached(cache, key, seenSchema), deletedAtMs(cache, key)]);
  if (cached === "unreadable" || deleted === "unreadable") return "unreadable";
  const own = memory.get(key);
  const newest = own === undefined || (cached !== null && cached.atMs > own.atMs) ? cached : own;
  if (newest === null || newest.digest === null || newest.askedAtMs <= deleted) return null;
  return { ...newest, digest: newest.digest };
}

const lifeMsOf = ({ pod }: Tagged): number => pod.outage.staleSeconds * 1000;

/** Whether the tag was deleted or got another digest after this push was sent. It is then unknown which came last, that change or this push. */
const isBetween = (known: Pick<Heard, "digest" | "atMs">, pushed: Pick<Seen, "digest" | "askedAtMs">): boolean =>
  known.digest !== pushed.digest && known.atMs > pushed.askedAtMs;
