import * as v from "valibot";
import { within } from "./within.ts";

export type CacheApi = {
  open(name: string): Promise<{
    match(url: string): Promise<Response | undefined>;
    put(url: string, response: Response): Promise<void>;
  }>;
};

/** A cache that the isolates of one location share. It may lose entries at any time, and it may fail. */
export type LocationCache = {
  /** Null if the cache has no such entry. `unreadable`: the cache fails, or does not answer in time. */
  match(path: string): Promise<Response | null | "unreadable">;
  put(path: string, response: Response, keepSeconds: number): Promise<void>;
};

export type LocationPorts = {
  readonly cache: LocationCache;
  readonly clock: () => Date;
  readonly waitUntil: (promise: Promise<unknown>) => void;
};

/** After this time, asking the Pod is better than waiting for the cache. */
const cacheDeadlineMs = 1_000;

/**
 * Opens the cache `name`. All entries have URLs on `host`, whichever hostname of the edge a request is for. So a deletion under one hostname counts
 * under all. Plain workerd has no cache and throws on every call, so every read there is `unreadable`.
 */
export function createLocationCache(caches: CacheApi, host: string, name: string): LocationCache {
  const urlOf = (path: string) => `https://${host}/${path}`;
  return {
    match: async (path) => {
      try {
        const matched = caches.open(name).then((cache) => cache.match(urlOf(path)));
        const found = await within(matched, cacheDeadlineMs);
        if (found !== "late") return found ?? null;
        matched.then((late) => late?.body?.cancel()).catch(() => {});
        return "unreadable";
      } catch {
        return "unreadable";
      }
    },
    put: async (path, response, keepSeconds) => {
      try {
        response.headers.set("Cache-Control", `max-age=${keepSeconds}`);
        const put = caches.open(name).then((cache) => cache.put(urlOf(path), response));
        await within(put, cacheDeadlineMs);
      } catch {
        // If a value is not kept, the edge only has to call the Pod once more.
      }
    },
  };
}

/** Reads a small JSON value from the cache. A value that does not fit the schema, such as one of an older deployment, counts as unreadable. */
export async function readCached<T>(
  cache: LocationCache,
  path: string,
  schema: v.GenericSchema<unknown, T>,
): Promise<T | null | "unreadable"> {
  const found = await cache.match(path);
  if (found === null || found === "unreadable") return found;
  const text = await within(
    found.text().catch(() => ""),
    cacheDeadlineMs,
  );
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), schema), text);
  return parsed.success ? parsed.output : "unreadable";
}
