import { within } from "../net/within.ts";
import { type Evidence, parseEvidence } from "./proof.ts";

/** What the isolates of one location share. It may forget at any time, and is allowed to fail. */
export type EvidenceCache = {
  read(key: string): Promise<Evidence | null>;
  write(key: string, evidence: Evidence): Promise<void>;
};

/** Workers' Cache API, as far as it is used here. */
export type CacheApi = {
  open(name: string): Promise<{
    match(url: string): Promise<{ text(): Promise<string> } | undefined>;
    put(url: string, response: Response): Promise<void>;
  }>;
};

/** Long after the last proof has expired: what stands here is asked for by HEAD, and no manifest teaches it again. */
const keepSeconds = 24 * 3600;
const deadlineMs = 1_000;

/** `origin` is the Worker's own: no other site's name may stand in a key. Plain workerd without a cache throws on every call. */
export function createEvidenceCache(caches: CacheApi, origin: string): EvidenceCache {
  const url = (key: string) => `${origin}/-/evidence/${key}`;
  return {
    read: async (key) => {
      try {
        const text = await within(readText(caches, url(key)), deadlineMs);
        return text === null || text === "late" ? null : parseEvidence(text);
      } catch {
        return null;
      }
    },
    write: async (key, evidence) => {
      try {
        const headers = { "Content-Type": "application/json", "Cache-Control": `max-age=${keepSeconds}` };
        await within(put(caches, url(key), new Response(JSON.stringify(evidence), { headers })), deadlineMs);
      } catch {
        // The isolate's own memory has it.
      }
    },
  };
}

async function readText(caches: CacheApi, url: string): Promise<string | null> {
  const cache = await caches.open("evidence");
  return (await (await cache.match(url))?.text()) ?? null;
}

async function put(caches: CacheApi, url: string, response: Response): Promise<void> {
  const cache = await caches.open("evidence");
  await cache.put(url, response);
}
