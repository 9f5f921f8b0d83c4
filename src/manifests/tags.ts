import * as v from "valibot";
import type { Pod } from "../directory/directory.ts";
import type { BoundedMap } from "../lib/collections.ts";
import { type LocationCache, readCached } from "../net/location-cache.ts";
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
  /** The registry that said so. */
  registry: v.string(),
});

/** What a tag pointed to, and when the Pod said so. */
type Seen = v.InferOutput<typeof seenSchema>;

/** What one isolate knows of a tag; a null digest: it was deleted. */
export type TagMemory = BoundedMap<string, Omit<Seen, "digest"> & { readonly digest: Digest | null }>;

/** The digest that each tag had when it last passed this location. It is used only while the Pod fails, because a tag may move at any time. */
export type SeenTags = {
  /** What it pointed to last, and when. Null if none is known, or the last one was seen more than the Pod's `staleSeconds` ago. */
  find(tagged: Tagged): Promise<Pick<Seen, "digest" | "atMs"> | null>;
  /** The Pod said so when it was asked at `askedAt`. */
  record(tagged: Tagged, digest: Digest, askedAt: Date): void;
  /** A push has just moved it there. */
  move(tagged: Tagged, digest: Digest): void;
  /** It was deleted, or it moved and nothing is known of where to. */
  forget(tagged: Tagged): void;
  /** The Pod just said that it lacks it. This is remembered only of a tag that was seen, or may have been. */
  forgetMissing(tagged: Tagged): Promise<void>;
};

type Ports = {
  readonly memory: TagMemory;
  readonly cache: LocationCache;
  readonly clock: () => Date;
  readonly waitUntil: (promise: Promise<unknown>) => void;
};

/** An unchanged tag is written again after this part of its life, so that it does not expire while it is pulled. */
const renewedAfter = 1 / 8;

/** Neither a Pod id nor a tag has a slash, so no two tags share a key. */
const keyOf = ({ pod, repository, tag }: Tagged): string => `tag/${pod.id}/${repository}/${tag}`;

export function createSeenTags({ memory, cache, clock, waitUntil }: Ports): SeenTags {
  /** What was seen last, here or in another isolate of the location. */
  const read = async (key: string): Promise<Seen | null | "unreadable"> => {
    const [cached, deleted] = await Promise.all([readCached(cache, key, seenSchema), deletedAtMs(cache, key)]);
    if (cached === "unreadable" || deleted === "unreadable") return "unreadable";
    const own = memory.get(key);
    const newest = own === undefined || (cached !== null && cached.atMs > own.atMs) ? cached : own;
    if (newest === null || newest.digest === null || newest.atMs <= deleted) return null;
    return { ...newest, digest: newest.digest };
  };
  const write = async (key: string, seen: Seen, keepSeconds: number): Promise<void> => {
    const cached = await readCached(cache, key, seenSchema);
    // A push may have moved it since, in another isolate.
    if (cached === "unreadable" || (cached !== null && cached.atMs > seen.atMs)) return;
    await cache.put(key, Response.json(seen), keepSeconds);
  };
  const remember = (tagged: Tagged, digest: Digest, atMs: number): void => {
    if (lifeMsOf(tagged) === 0) return;
    const { registry, outage } = tagged.pod;
    memory.set(keyOf(tagged), { digest, atMs, registry });
    waitUntil(write(keyOf(tagged), { digest, atMs, registry }, outage.staleSeconds));
  };
  const forget: SeenTags["forget"] = (tagged) => {
    const atMs = clock().getTime();
    memory.set(keyOf(tagged), { digest: null, atMs, registry: tagged.pod.registry });
    waitUntil(writeTombstone(cache, keyOf(tagged), atMs));
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
      if (!isKnown || atMs >= known.atMs + lifeMsOf(tagged) * renewedAfter) remember(tagged, digest, atMs);
    },
    move: (tagged, digest) => remember(tagged, digest, clock().getTime()),
    forget,
    forgetMissing: async (tagged) => {
      if ((await read(keyOf(tagged))) !== null) forget(tagged);
    },
  };
}

const lifeMsOf = ({ pod }: Tagged): number => pod.outage.staleSeconds * 1000;
