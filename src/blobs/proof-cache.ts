import { within } from "../net/within.ts";
import { type ProofCache, parseProof } from "./proofs.ts";

/** The part of Workers' Cache API that is used here. */
export type CacheApi = {
  open(name: string): Promise<{
    match(url: string): Promise<{ text(): Promise<string> } | undefined>;
    put(url: string, response: Response): Promise<void>;
  }>;
};

/** This is long after the last proof has expired, because a blob that was heard of is asked for by HEAD and no manifest proves it again. */
const keepSeconds = 24 * 3600;
const deadlineMs = 1_000;

/** `origin` is the Worker's own, because a key must not name another site. Plain workerd has no cache and throws on every call. */
export function createProofCache(caches: CacheApi, origin: string): ProofCache {
  const url = (key: string) => `${origin}/-/proof/${key}`;
  return {
    read: async (key) => {
      try {
        const text = await within(readText(caches, url(key)), deadlineMs);
        return text === null || text === "late" ? null : parseProof(text);
      } catch {
        return null;
      }
    },
    write: async (key, proof) => {
      try {
        const headers = { "Content-Type": "application/json", "Cache-Control": `max-age=${keepSeconds}` };
        await within(put(caches, url(key), new Response(JSON.stringify(proof), { headers })), deadlineMs);
      } catch {
        // The isolate's own memory has it.
      }
    },
  };
}

async function readText(caches: CacheApi, url: string): Promise<string | null> {
  const cache = await caches.open("proofs");
  return (await (await cache.match(url))?.text()) ?? null;
}

async function put(caches: CacheApi, url: string, response: Response): Promise<void> {
  const cache = await caches.open("proofs");
  await cache.put(url, response);
}
