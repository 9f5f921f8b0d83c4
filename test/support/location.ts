import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import type { Pod } from "../../src/directory/directory.ts";
import type { PodId } from "../../src/directory/pod-id.ts";
import { createIsolate } from "../../src/isolate.ts";
import { createManifests } from "../../src/manifests/manifests.ts";
import { type CacheApi, createLocationCache } from "../../src/net/location-cache.ts";
import type { Digest } from "../../src/oci/digest.ts";
import type { RepositoryName } from "../../src/oci/repository-name.ts";

export async function startLocation(): Promise<{ readonly caches: CacheApi; readonly stop: () => Promise<void> }> {
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      modules: true,
      script: "export default {}",
      compatibilityDate: "2026-10-23",
      cf: false,
    }),
  );
  const ownCaches = (await miniflare.getCaches()) as unknown as CacheApi;
  // This process breaks if a body from Miniflare is cancelled. So this cache reads each body whole before it returns the body.
  const caches: CacheApi = {
    open: async (name) => {
      const cache = await ownCaches.open(name);
      return {
        match: async (url) => {
          const found = await cache.match(url);
          return found === undefined ? undefined : new Response(await found.arrayBuffer(), { headers: found.headers });
        },
        put: (url, response) => cache.put(url, response),
      };
    },
  };
  return { caches, stop: () => miniflare.dispose() };
}

export const pod = (change: object = {}): Pod =>
  ({
    id: "pod-a" as PodId,
    registry: "https://a.test",
    blobs: { proofTtlSeconds: 900 },
    outage: { staleSeconds: 3600 },
    ...change,
  }) as unknown as Pod;
export const digestOf = (char: string) => `sha256:${char.repeat(64)}` as Digest;
let count = 0;
export const someRepository = (): RepositoryName => {
  count += 1;
  return `acme/app-${count}` as RepositoryName;
};
export const at = (seconds: number) => new Date(1_800_000_000_000 + seconds * 1000);

export function startIsolateAt(cacheApi: CacheApi) {
  const memory = createIsolate().manifests;
  const work: Promise<unknown>[] = [];
  let now = at(0);
  const { kept, tags } = createManifests({
    memory,
    cache: createLocationCache(cacheApi, "edge.test", "manifests"),
    clock: () => now,
    waitUntil: (promise) => void work.push(promise),
  });
  return {
    ...{ kept, tags, memory },
    settled: () => Promise.all(work.splice(0)),
    setClock: (seconds: number) => {
      now = at(seconds);
    },
  };
}
