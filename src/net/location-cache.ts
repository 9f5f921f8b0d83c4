import * as v from "valibot";
import { within } from "./within.ts";

/** The part of Workers' Cache API that is used here. */
export type CacheApi = {
  open(name: string): Promise<{
    match(url: string): Promise<Response | undefined>;
    put(url: string, response: Response): Promise<void>;
  }>;
};

/** What the isolates of one location share. It may forget at any time, and it may fail. */
export type LocationCache = {
  /** Null if there is nothing. `unreadable`: the cache fails, or does not answer in time. */
  match(path: string): Promise<Response | null | "unreadable">;
  put(path: string, response: Response, keepSeconds: number): Promise<void>;
};

/**
 * One host for all hostnames of the edge, because what is deleted under one of them is deleted under all. It can never be another site's
 * (RFC 2606 §2), and a zone's cache is its own.
 */
export const locationCacheHost = "https://proofs.invalid";

/** The caller would rather ask the Pod than wait for longer. */
export const cacheDeadlineMs = 1_000;

/** Plain workerd has no cache and throws on every call, so there nothing can be read. */
export function createLocationCache(caches: CacheApi, name: string): LocationCache {
  return {
    match: async (path) => {
      try {
        const matched = caches.open(name).then((cache) => cache.match(`${locationCacheHost}/${path}`));
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
        const put = caches.open(name).then((cache) => cache.put(`${locationCacheHost}/${path}`, response));
        await within(put, cacheDeadlineMs);
      } catch {
        // What is not kept is asked for at the Pod.
      }
    },
  };
}

/** A small JSON value of the cache. What the schema does not fit counts as unreadable, because a cache may hold anything. */
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
