import * as v from "valibot";
import { type LocationCache, readCached } from "./location-cache.ts";

/** As long as any copy is kept, and longer than any one may be given. */
const keepSeconds = 24 * 3600;

const schema = v.strictObject({ atMs: v.number() });

/** When something was last deleted, in milliseconds; 0: not that the location knows. `unreadable`: it cannot say. */
export async function deletedAtMs(cache: LocationCache, key: string): Promise<number | "unreadable"> {
  const tombstone = await readCached(cache, pathOf(key), schema);
  return tombstone === null ? 0 : tombstone === "unreadable" ? "unreadable" : tombstone.atMs;
}

export const writeTombstone = (cache: LocationCache, key: string, atMs: number): Promise<void> =>
  cache.put(pathOf(key), Response.json({ atMs }), keepSeconds);

/** A tombstone has a key of its own, so that a copy which another isolate writes later cannot overwrite it. */
const pathOf = (key: string): string => `tombstone-of/${key}`;
