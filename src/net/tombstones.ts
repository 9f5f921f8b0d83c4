import * as v from "valibot";
import { type LocationCache, type LocationPorts, readCached } from "./location-cache.ts";

/**
 * A tombstone is the note that something was deleted. By default, it is kept for a day, because copies of the deleted thing are used for at most a
 * day.
 */
const daySeconds = 24 * 3600;

/**
 * Remembers what clients deleted from a group while the group was being moved. Each Cloudflare location has its own cache for this, which may lose
 * entries. So each deletion must also be sent to both Pods.
 */
export type Tombstones = {
  has(key: string): Promise<boolean>;
  add(key: string): void;
};

/** The tombstones of a move are kept for this long, because a move is rarely left open for longer. */
const weekSeconds = 7 * daySeconds;

export const createTombstones = ({ cache, clock, waitUntil }: LocationPorts): Tombstones => ({
  has: async (key) => {
    const atMs = await deletedAtMs(cache, key);
    return atMs !== "unreadable" && atMs > 0;
  },
  add: (key) => waitUntil(writeTombstone(cache, key, { atMs: clock().getTime(), keepSeconds: weekSeconds })),
});

const schema = v.strictObject({ atMs: v.number() });

/** Returns when something was last deleted, in milliseconds. 0 if the location knows of no deletion; `unreadable` if the cache cannot say. */
export async function deletedAtMs(cache: LocationCache, key: string): Promise<number | "unreadable"> {
  const tombstone = await readCached(cache, pathOf(key), schema);
  return tombstone === null ? 0 : tombstone === "unreadable" ? "unreadable" : tombstone.atMs;
}

type Tombstone = {
  readonly atMs: number;
  /** How long the tombstone is kept. No copy of the deleted thing may be used for longer than this after it was made. */
  readonly keepSeconds?: number;
};

export const writeTombstone = (
  cache: LocationCache,
  key: string,
  { atMs, keepSeconds = daySeconds }: Tombstone,
): Promise<void> => cache.put(pathOf(key), Response.json({ atMs }), keepSeconds);

/** A tombstone has a key of its own, so that another isolate that writes a copy later cannot overwrite the tombstone. */
const pathOf = (key: string): string => `tombstone-of/${key}`;
