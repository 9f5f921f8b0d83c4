import { cacheDeadlineMs, locationCacheHost } from "../net/location-cache.ts";
import { within } from "../net/within.ts";
import { latest, type Proof, type ProofCache, parseProof } from "./proofs.ts";

/** The part of Workers' Cache API that this file uses. */
export type CacheApi = {
  open(name: string): Promise<{
    match(url: string): Promise<{ text(): Promise<string> } | undefined>;
    put(url: string, response: Response): Promise<void>;
  }>;
};

/**
 * Entries stay in the cache much longer than proofs are valid. While a blob has an entry, a manifest does not prove the blob (see `recordManifest`).
 * Without the expired entry, a manifest would prove a blob that may have been deleted since the manifest was pushed.
 */
const keepSeconds = 24 * 3600;

/** Proof and tombstone of a blob have different keys. So a proof that another isolate writes later cannot overwrite the tombstone. */
const urlOf = (kind: "proof" | "tombstone", key: string): string => `${locationCacheHost}/${kind}/${key}`;

/** In plain workerd, the Cache API throws on every call, so every read of this cache returns `unreadable` there. */
export function createProofCache(caches: CacheApi): ProofCache {
  return {
    read: async (key) => {
      const [proof, tombstone] = await Promise.all([
        readOne(caches, urlOf("proof", key)),
        readOne(caches, urlOf("tombstone", key)),
      ]);
      if (proof === "unreadable" || tombstone === "unreadable") return "unreadable";
      return latest(proof, tombstone);
    },
    write: async (key, proof) => {
      try {
        const headers = { "Content-Type": "application/json", "Cache-Control": `max-age=${keepSeconds}` };
        const url = urlOf(proof.kind === "tombstone" ? "tombstone" : "proof", key);
        await within(put(caches, url, new Response(JSON.stringify(proof), { headers })), cacheDeadlineMs);
      } catch {
        // A failed write does no harm, because the proof is still in the isolate's memory.
      }
    },
  };
}

async function readOne(caches: CacheApi, url: string): Promise<Proof | null | "unreadable"> {
  try {
    const text = await within(readText(caches, url), cacheDeadlineMs);
    if (text === null) return null;
    return (text === "late" ? null : parseProof(text)) ?? "unreadable";
  } catch {
    return "unreadable";
  }
}

async function readText(caches: CacheApi, url: string): Promise<string | null> {
  const cache = await caches.open("proofs");
  return (await (await cache.match(url))?.text()) ?? null;
}

async function put(caches: CacheApi, url: string, response: Response): Promise<void> {
  const cache = await caches.open("proofs");
  await cache.put(url, response);
}
