import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { afterAll, describe, expect, test } from "vitest";
import type { Owned } from "../../src/blobs/proofs.ts";
import type { Pod } from "../../src/directory/directory.ts";
import type { PodId } from "../../src/directory/pod-id.ts";
import { createIsolate } from "../../src/isolate.ts";
import type { KeptManifest, Source } from "../../src/manifests/kept-manifest.ts";
import { createManifests } from "../../src/manifests/manifests.ts";
import type { SeenTags, Tagged } from "../../src/manifests/tags.ts";
import { type CacheApi, createLocationCache } from "../../src/net/location-cache.ts";
import type { Digest } from "../../src/oci/digest.ts";
import type { Tag } from "../../src/oci/reference.ts";
import type { RepositoryName } from "../../src/oci/repository-name.ts";

const miniflare = new Miniflare(
  convertV4MiniflareOptions({ modules: true, script: "export default {}", compatibilityDate: "2026-10-23", cf: false }),
);
const ownCaches = (await miniflare.getCaches()) as unknown as CacheApi;
/** This process breaks if a body from Miniflare is cancelled. So this cache reads each body whole before it returns the body. */
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
afterAll(() => miniflare.dispose());

const noCache: CacheApi = { open: () => Promise.reject(new Error("No Cache was configured")) };
const silentCache: CacheApi = { open: () => new Promise(() => {}) };
/** The location's cache, in which every read of a tombstone fails. */
const withoutTombstones: CacheApi = {
  open: async (name) => {
    const cache = await caches.open(name);
    return {
      match: (url) => (url.includes("tombstone") ? Promise.reject(new Error("internal error")) : cache.match(url)),
      put: (url, response) => cache.put(url, response),
    };
  },
};

const pod = (change: object = {}): Pod =>
  ({
    id: "pod-a" as PodId,
    registry: "https://a.test",
    blobs: { proofTtlSeconds: 900 },
    outage: { staleSeconds: 3600 },
    ...change,
  }) as unknown as Pod;
const digestOf = (char: string) => `sha256:${char.repeat(64)}` as Digest;
let count = 0;
const someRepository = (): RepositoryName => {
  count += 1;
  return `acme/app-${count}` as RepositoryName;
};
const someManifest = (): Owned => ({ pod: pod(), repository: someRepository(), digest: digestOf("d") });
const someTag = (): Tagged => ({ pod: pod(), repository: someRepository(), tag: "1" as Tag });
const at = (seconds: number) => new Date(1_800_000_000_000 + seconds * 1000);
const headers = { "Content-Type": "application/vnd.oci.image.manifest.v1+json", ETag: '"\u00e9\u2013"' };
const bytes = new Uint8Array(Buffer.from("a manifest"));
const copy = (askedAtSeconds: number, source: Source = "pull") => ({
  source,
  headers,
  bytes,
  askedAt: at(askedAtSeconds),
});

/** Starts one isolate of a location, whose clock the test sets. */
function startIsolate(cacheApi: CacheApi = caches) {
  const memory = createIsolate().manifests;
  const work: Promise<unknown>[] = [];
  let now = at(0);
  const { kept, tags } = createManifests({
    memory,
    cache: createLocationCache(cacheApi, "manifests"),
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

const digestFor = async (tags: SeenTags, tagged: Tagged) => (await tags.find(tagged))?.digest ?? null;

async function textOf(kept: KeptManifest | null): Promise<string | null> {
  return kept === null ? null : new Response(kept.body).text();
}

describe("kept manifest", () => {
  test("it is found with its bytes and headers by each isolate of the location", async () => {
    const [keeping, other] = [startIsolate(), startIsolate()];
    const manifest = someManifest();
    await keeping.kept.keep(manifest, copy(0));
    await keeping.settled();
    for (const { kept } of [keeping, other]) {
      const found = await kept.find(manifest);
      expect(found).toMatchObject({ headers, bytes: bytes.byteLength, source: "pull" });
      expect(await textOf(found)).toBe("a manifest");
    }
  });

  test("it is not found for another repository, digest, Pod or registry", async () => {
    const { kept, settled } = startIsolate();
    const manifest = someManifest();
    await kept.keep(manifest, copy(0));
    await settled();
    for (const other of [
      { ...manifest, repository: `${manifest.repository}/x` as RepositoryName },
      { ...manifest, digest: digestOf("e") },
      { ...manifest, pod: pod({ id: "pod-b" }) },
      { ...manifest, pod: pod({ registry: "https://b.test" }) },
    ]) {
      expect([await kept.find(other), await kept.findStale(other)]).toEqual([null, null]);
    }
    expect(await textOf(await kept.find(manifest))).toBe("a manifest");
  });

  test("it is fresh for proofTtlSeconds, and stale for staleSeconds after that", async () => {
    const { kept, settled, setClock } = startIsolate();
    const manifest = someManifest();
    await kept.keep(manifest, copy(0));
    await settled();
    for (const [seconds, isFresh, isStale] of [
      [899, true, true],
      [900, false, true],
      [4_499, false, true],
      [4_500, false, false],
    ] as const) {
      setClock(seconds);
      const found = [await textOf(await kept.find(manifest)), await textOf(await kept.findStale(manifest))];
      expect([seconds, ...found.map((text) => text !== null)]).toEqual([seconds, isFresh, isStale]);
    }
  });

  test("one that was only pushed is for outages, and does not replace one that was pulled", async () => {
    const { kept, settled } = startIsolate();
    const [pushed, both] = [someManifest(), someManifest()];
    await kept.keep(pushed, copy(0, "push"));
    await kept.keep(both, copy(0));
    await settled();
    await startIsolate().kept.keep(both, copy(0, "push"));
    await kept.keep(both, copy(0, "push"));
    await settled();
    expect([await kept.find(pushed), await textOf(await kept.findStale(pushed))]).toEqual([null, "a manifest"]);
    expect(await textOf(await kept.find(both))).toBe("a manifest");
  });

  test("a tombstone reaches each isolate, and no copy that was under way overwrites it", async () => {
    const [deleting, late, third] = [startIsolate(), startIsolate(), startIsolate()];
    const manifest = someManifest();
    await late.kept.keep(manifest, copy(0));
    await late.settled();
    deleting.setClock(10);
    deleting.kept.forget(manifest);
    await deleting.settled();
    for (const askedAt of [9, 10]) {
      await late.kept.keep(manifest, copy(askedAt));
      await deleting.kept.keep(manifest, copy(askedAt));
      await Promise.all([late.settled(), deleting.settled()]);
      for (const { kept } of [deleting, late, third]) {
        expect([await kept.find(manifest), await kept.findStale(manifest)]).toEqual([null, null]);
      }
    }
    await late.kept.keep(manifest, copy(11));
    await late.settled();
    for (const { kept } of [deleting, late, third]) expect(await textOf(await kept.find(manifest))).toBe("a manifest");
  });

  test("a tag that was seen before its manifest was deleted does not come back with a push of the manifest by digest", async () => {
    const { kept, settled, setClock } = startIsolate();
    const manifest = someManifest();
    await kept.keep(manifest, copy(0));
    setClock(10);
    kept.forget(manifest);
    await settled();
    await kept.keep(manifest, copy(20, "push"));
    await settled();
    const textBy = async (taggedAtSeconds: number) =>
      textOf(await kept.findStale(manifest, { taggedAtMs: at(taggedAtSeconds).getTime() }));
    expect([await textBy(5), await textBy(10), await textBy(21)]).toEqual([null, null, "a manifest"]);
    expect(await textOf(await kept.findStale(manifest))).toBe("a manifest");
  });

  test("nothing is found while the cache cannot say whether it was deleted", async () => {
    const [keeping, other] = [startIsolate(), startIsolate(withoutTombstones)];
    const manifest = someManifest();
    await keeping.kept.keep(manifest, copy(0));
    await keeping.settled();
    expect([await other.kept.find(manifest), await other.kept.findStale(manifest)]).toEqual([null, null]);
  });

  test.each([
    ["has no cache", noCache],
    ["has a cache that never answers", silentCache],
  ])("nothing is found, and nothing fails, in a runtime that %s", async (_, cacheApi) => {
    const { kept, settled } = startIsolate(cacheApi);
    const manifest = someManifest();
    await kept.keep(manifest, copy(0));
    kept.forget(someManifest());
    await kept.forgetMissing(someManifest());
    await settled();
    expect([await kept.find(manifest), await kept.findStale(manifest)]).toEqual([null, null]);
  });

  test("one that the Pod was found to lack is forgotten, and of one that is not kept nothing is remembered", async () => {
    const [{ kept, settled, memory }, other] = [startIsolate(), startIsolate()];
    const [lost, unheard] = [someManifest(), someManifest()];
    await other.kept.keep(lost, copy(-1));
    await other.settled();
    await kept.forgetMissing(lost);
    await kept.forgetMissing(unheard);
    await settled();
    expect([await other.kept.find(lost), memory.kept.size]).toEqual([null, 1]);
  });

  test("a copy is due when none is kept, the location has lost it, it was pushed, or a part of its time is over", async () => {
    const { kept, setClock } = startIsolate();
    const [manifest, pushed] = [someManifest(), someManifest()];
    expect(kept.isDue(manifest, "pull")).toBe(true);
    const keeping = [kept.keep(manifest, copy(0)), kept.keep(pushed, copy(0, "push"))];
    expect([kept.isDue(manifest, "pull"), kept.isDue(manifest, "push")]).toEqual([false, false]);
    expect([kept.isDue(pushed, "pull"), kept.isDue(pushed, "push")]).toEqual([true, false]);
    await Promise.all(keeping);
    setClock(225);
    expect(kept.isDue(manifest, "pull")).toBe(true);
    const lost = startIsolate({ open: async () => ({ match: async () => undefined, put: async () => undefined }) });
    await lost.kept.keep(manifest, copy(0));
    expect(await lost.kept.find(manifest)).toBeNull();
    expect(lost.kept.isDue(manifest, "pull")).toBe(true);
  });

  test("without any time to live, nothing is due", () => {
    const off = pod({ blobs: { proofTtlSeconds: 0 }, outage: { staleSeconds: 0 } });
    expect(startIsolate().kept.isDue({ ...someManifest(), pod: off }, "pull")).toBe(false);
  });
});

describe("tag that was seen", () => {
  test("its last digest is found for staleSeconds, by each isolate, and for no other tag, repository, Pod or registry", async () => {
    const [seeing, other] = [startIsolate(), startIsolate()];
    const tagged = someTag();
    seeing.tags.record(tagged, digestOf("a"), at(0));
    seeing.tags.record(tagged, digestOf("b"), at(1));
    await seeing.settled();
    for (const { tags, setClock } of [seeing, other]) {
      for (const elsewhere of [
        { ...tagged, tag: "2" as Tag },
        { ...tagged, repository: `${tagged.repository}/1` as RepositoryName },
        { ...tagged, pod: pod({ id: "pod-b" }) },
        { ...tagged, pod: pod({ registry: "https://b.test" }) },
      ]) {
        expect(await digestFor(tags, elsewhere)).toBeNull();
      }
      for (const [seconds, digest] of [
        [3_600, digestOf("b")],
        [3_601, null],
      ] as const) {
        setClock(seconds);
        expect(await digestFor(tags, tagged)).toBe(digest);
      }
    }
  });

  test("what was asked earlier does not replace what was heard later, in this isolate and in others", async () => {
    const [one, two, third] = [startIsolate(), startIsolate(), startIsolate()];
    const tagged = someTag();
    one.setClock(10);
    one.tags.move(tagged, digestOf("b"));
    await one.settled();
    for (const { tags, settled } of [one, two]) {
      tags.record(tagged, digestOf("a"), at(9));
      await settled();
    }
    for (const { tags } of [one, two, third]) expect(await digestFor(tags, tagged)).toBe(digestOf("b"));
  });

  test("an unchanged tag is compared with the location's cache once in a minute, and written again when a part of its time is over", async () => {
    const entries = new Map<string, string>();
    const calls = { reads: 0, puts: 0 };
    const counting: CacheApi = {
      open: async () => ({
        match: async (url) => {
          calls.reads += 1;
          return entries.has(url) ? new Response(entries.get(url)) : undefined;
        },
        put: async (url, response) => {
          calls.puts += 1;
          entries.set(url, await response.text());
        },
      }),
    };
    const { tags, settled } = startIsolate(counting);
    const tagged = someTag();
    const readsAt = [];
    const putsAt = [];
    for (const seconds of [0, 1, 59, 60, 61, 119, 120, 450, 451]) {
      tags.record(tagged, digestOf("a"), at(seconds));
      await settled();
      readsAt.push(calls.reads);
      putsAt.push(calls.puts);
    }
    expect(readsAt).toEqual([2, 2, 2, 4, 4, 4, 6, 8, 8]);
    expect(putsAt).toEqual([1, 1, 1, 1, 1, 1, 1, 2, 2]);
  });

  test("if it names its earlier digest again, the isolate that sees this finds it at once, and the others when that isolate next compares it", async () => {
    const [one, two, third] = [startIsolate(), startIsolate(), startIsolate()];
    const tagged = someTag();
    const see = async ({ tags, settled }: typeof one, digest: string, seconds: number) => {
      tags.record(tagged, digestOf(digest), at(seconds));
      await settled();
    };
    await see(one, "a", 0);
    await see(two, "b", 20);
    await see(one, "a", 40);
    expect(await digestFor(one.tags, tagged)).toBe(digestOf("a"));
    await see(one, "a", 60);
    for (const { tags } of [one, two, third]) expect(await digestFor(tags, tagged)).toBe(digestOf("a"));
  });

  test("if the Pod has it again after its deletion, the other isolates find it when an isolate that sees this next compares it", async () => {
    const [seeing, deleting] = [startIsolate(), startIsolate()];
    const tagged = someTag();
    seeing.tags.record(tagged, digestOf("a"), at(0));
    await seeing.settled();
    deleting.setClock(10);
    deleting.tags.forget(tagged);
    await deleting.settled();
    seeing.tags.record(tagged, digestOf("a"), at(60));
    await seeing.settled();
    for (const { tags } of [seeing, startIsolate()]) expect(await digestFor(tags, tagged)).toBe(digestOf("a"));
  });

  test("a deletion is heard by each isolate, and a push after it counts", async () => {
    const [deleting, other] = [startIsolate(), startIsolate()];
    const tagged = someTag();
    other.tags.record(tagged, digestOf("a"), at(0));
    await other.settled();
    deleting.setClock(10);
    deleting.tags.forget(tagged);
    await deleting.settled();
    for (const askedAt of [5, 10]) {
      for (const { tags, settled } of [deleting, other]) {
        tags.record(tagged, digestOf("a"), at(askedAt));
        await settled();
        expect(await digestFor(tags, tagged)).toBeNull();
      }
    }
    other.setClock(11);
    other.tags.move(tagged, digestOf("b"));
    await other.settled();
    for (const { tags } of [deleting, other]) expect(await digestFor(tags, tagged)).toBe(digestOf("b"));
  });

  test("one that the Pod was found to lack is forgotten, and of one that was not seen nothing is remembered", async () => {
    const [seeing, other] = [startIsolate(), startIsolate()];
    const [lost, unheard] = [someTag(), someTag()];
    seeing.tags.record(lost, digestOf("a"), at(-1));
    await seeing.settled();
    await other.tags.forgetMissing(lost);
    await other.tags.forgetMissing(unheard);
    await other.settled();
    expect([await digestFor(seeing.tags, lost), other.memory.tags.size]).toEqual([null, 1]);
  });

  test("with staleSeconds 0 nothing is written", async () => {
    const { tags, memory } = startIsolate();
    const tagged = { ...someTag(), pod: pod({ outage: { staleSeconds: 0 } }) };
    tags.record(tagged, digestOf("a"), at(0));
    tags.move(tagged, digestOf("a"));
    expect([await digestFor(tags, tagged), memory.tags.size]).toEqual([null, 0]);
  });
});

test("the memory of manifests and tags is bounded", async () => {
  const { kept, tags, memory } = startIsolate(noCache);
  for (let each = 0; each < 2_000; each += 1) {
    await kept.keep(someManifest(), copy(0));
    tags.record(someTag(), digestOf("a"), at(0));
  }
  expect([memory.kept.size, memory.tags.size]).toEqual([1_500, 1_500]);
});
