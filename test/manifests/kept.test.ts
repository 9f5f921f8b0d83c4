import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, test } from "vitest";
import type { Owned } from "../../src/blobs/proofs.ts";
import type { KeptManifest, Source } from "../../src/manifests/kept-manifest.ts";
import type { CacheApi } from "../../src/net/location-cache.ts";
import type { RepositoryName } from "../../src/oci/repository-name.ts";
import { at, digestOf, pod, someRepository, startIsolateAt, startLocation } from "../support/location.ts";

const location = await startLocation();
afterAll(() => location.stop());
const startIsolate = (cacheApi: CacheApi = location.caches) => startIsolateAt(cacheApi);
const noCache: CacheApi = { open: () => Promise.reject(new Error("No Cache was configured")) };
const silentCache: CacheApi = { open: () => new Promise(() => {}) };
/** The location's cache, in which every read of a tombstone fails. */
const withoutTombstones: CacheApi = {
  open: async (name) => {
    const cache = await location.caches.open(name);
    return {
      match: (url) => (url.includes("tombstone") ? Promise.reject(new Error("internal error")) : cache.match(url)),
      put: (url, response) => cache.put(url, response),
    };
  },
};

const someManifest = (): Owned => ({ pod: pod(), repository: someRepository(), digest: digestOf("d") });
const headers = { "Content-Type": "application/vnd.oci.image.manifest.v1+json", ETag: '"\u00e9\u2013"' };
const bytes = new Uint8Array(Buffer.from("a manifest"));
const copy = (askedAtSeconds: number, source: Source = "pull") => ({
  source,
  headers,
  bytes,
  askedAt: at(askedAtSeconds),
});

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

  test("if a tag named it lately, it is found by this tag, however old the copy is", async () => {
    const { kept, settled, setClock } = startIsolate();
    const manifest = someManifest();
    await kept.keep(manifest, copy(0));
    await settled();
    setClock(100_000);
    const taggedAtMs = at(99_000).getTime();
    expect([await kept.find(manifest), await kept.findStale(manifest)]).toEqual([null, null]);
    expect(await textOf(await kept.findStale(manifest, { taggedAtMs }))).toBe("a manifest");
    const elsewhere = { ...manifest, pod: pod({ id: "pod-b" }) };
    expect(await kept.findStale(elsewhere, { taggedAtMs })).toBeNull();
    kept.forget(manifest);
    expect(await kept.findStale(manifest, { taggedAtMs })).toBeNull();
  });

  test("a record with a longer staleSeconds counts for what was kept before, so that an operator can write it during an outage", async () => {
    const { kept, settled, setClock } = startIsolate();
    const manifest = someManifest();
    const before = { ...manifest, pod: pod({ blobs: { proofTtlSeconds: 0 }, outage: { staleSeconds: 1 } }) };
    await kept.keep(before, copy(0));
    await settled();
    await sleep(1_100);
    setClock(2);
    expect(await kept.findStale(before)).toBeNull();
    expect(await textOf(await kept.findStale(manifest))).toBe("a manifest");
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
    await kept.forgetMissing(someManifest(), at(0));
    await settled();
    expect([await kept.find(manifest), await kept.findStale(manifest)]).toEqual([null, null]);
  });

  test("one that the Pod was found to lack is forgotten, and of one that is not kept nothing is remembered", async () => {
    const [{ kept, settled, memory }, other] = [startIsolate(), startIsolate()];
    const [lost, unheard] = [someManifest(), someManifest()];
    await other.kept.keep(lost, copy(-1));
    await other.settled();
    await kept.forgetMissing(lost, at(0));
    await kept.forgetMissing(unheard, at(0));
    await settled();
    expect([await other.kept.find(lost), memory.kept.size]).toEqual([null, 1]);
  });

  test("one for which the Pod was asked later stays, although the Pod was found to lack it before", async () => {
    const [keeping, other] = [startIsolate(), startIsolate()];
    const manifest = someManifest();
    await keeping.kept.keep(manifest, copy(2));
    await keeping.settled();
    for (const { kept, settled } of [keeping, other]) {
      await kept.forgetMissing(manifest, at(1));
      await settled();
      expect(await textOf(await kept.find(manifest))).toBe("a manifest");
    }
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

  test("what another isolate deleted is due when the Pod next sends it, at this Pod and at another", async () => {
    for (const there of [pod(), pod({ id: "pod-b", registry: "https://b.test" })]) {
      const [keeping, deleting] = [startIsolate(), startIsolate()];
      const manifest = someManifest();
      await keeping.kept.keep(manifest, copy(0));
      await keeping.settled();
      deleting.setClock(10);
      deleting.kept.forget({ ...manifest, pod: there });
      await deleting.settled();
      expect(await keeping.kept.find(manifest)).toBeNull();
      expect(keeping.kept.isDue(manifest, "pull")).toBe(true);
    }
  });

  test("another Pod that lacks it does not make the location forget it, but takes the place of its copy when it has the manifest", async () => {
    const { kept, settled } = startIsolate();
    const manifest = someManifest();
    const there = { ...manifest, pod: pod({ id: "pod-b", registry: "https://b.test" }) };
    await kept.keep(manifest, copy(0));
    await kept.forgetMissing(there, at(0));
    await settled();
    expect(await textOf(await kept.find(manifest))).toBe("a manifest");
    expect(kept.isDue(there, "pull")).toBe(true);
    await kept.keep(there, copy(0));
    await settled();
    expect([await kept.find(manifest), await textOf(await kept.find(there))]).toEqual([null, "a manifest"]);
  });

  test("without any time to live, nothing is due", () => {
    const off = pod({ blobs: { proofTtlSeconds: 0 }, outage: { staleSeconds: 0 } });
    expect(startIsolate().kept.isDue({ ...someManifest(), pod: off }, "pull")).toBe(false);
  });
});

test("the memory of manifests is bounded", async () => {
  const { kept, memory } = startIsolate(noCache);
  for (let each = 0; each < 2_000; each += 1) await kept.keep(someManifest(), copy(0));
  expect(memory.kept.size).toBe(1_500);
});
