import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { afterAll, expect, test } from "vitest";
import { createProofCache } from "../../src/blobs/proof-cache.ts";
import { createProofs, type Owned, type Proofs } from "../../src/blobs/proofs.ts";
import type { Pod } from "../../src/directory/directory.ts";
import type { PodId } from "../../src/directory/pod-id.ts";
import { createIsolate } from "../../src/isolate.ts";
import { type CacheApi, createLocationCache } from "../../src/net/location-cache.ts";
import type { Digest } from "../../src/oci/digest.ts";
import type { RepositoryName } from "../../src/oci/repository-name.ts";

const miniflare = new Miniflare(
  convertV4MiniflareOptions({ modules: true, script: "export default {}", compatibilityDate: "2026-10-23", cf: false }),
);
const caches = (await miniflare.getCaches()) as unknown as CacheApi;
afterAll(() => miniflare.dispose());

/** If no cache is configured, workerd makes each `open` fail like this. */
const noCache: CacheApi = { open: () => Promise.reject(new Error("No Cache was configured")) };
const emptyCache: CacheApi = {
  open: () => Promise.resolve({ match: () => Promise.resolve(undefined), put: () => Promise.resolve() }),
};
const failing = (state: { mayRead: boolean }): CacheApi => ({
  open: async (name) => {
    const cache = await caches.open(name);
    return {
      match: (url) => (state.mayRead ? cache.match(url) : Promise.reject(new Error("internal error"))),
      put: (url, response) => cache.put(url, response),
    };
  },
});
const podA = {
  id: "pod-a" as PodId,
  registry: "https://a.test",
  outage: { staleSeconds: 600 },
  blobs: { hosts: [], proof: "manifest", proofTtlSeconds: 900, stores: [] },
} as unknown as Pod;
const digest = `sha256:${"d".repeat(64)}` as Digest;
let count = 0;
const manifestOf = (blob: Owned): Owned => ({ ...blob, digest: `sha256:${"f".repeat(64)}` as Digest });
/** All tests share a cache, so each one needs a blob of its own. */
const someBlob = (): Owned => {
  count += 1;
  return { pod: podA, repository: `acme/app-${count}` as RepositoryName, digest };
};
const at = (seconds: number) => new Date(1_800_000_000_000 + seconds * 1000);

function startIsolate(cacheApi: CacheApi = caches, host = "edge.test") {
  const memory = createIsolate().proofs;
  const work: Promise<unknown>[] = [];
  let now = at(0);
  const proofs: Proofs = createProofs({
    memory,
    cache: createProofCache(createLocationCache(cacheApi, host, "proofs")),
    clock: () => now,
    waitUntil: (promise) => void work.push(promise),
  });
  return {
    memory,
    proofs,
    settled: () => Promise.all(work.splice(0)),
    setClock: (seconds: number) => {
      now = at(seconds);
    },
  };
}

test("fleets with different cache hosts share no proof and no deletion", async () => {
  const [asked, sameFleet, otherFleet] = [startIsolate(), startIsolate(), startIsolate(caches, "staging.test")];
  const blob = someBlob();
  asked.proofs.record(blob, at(0));
  await asked.settled();
  expect(await otherFleet.proofs.find(blob)).toBeNull();
  otherFleet.setClock(1);
  otherFleet.proofs.forget(blob);
  await otherFleet.settled();
  expect(await sameFleet.proofs.find(blob)).toBe("cache");
});

test("a proof lives for its Pod's proofTtlSeconds and no longer, in memory and in the cache", async () => {
  const [asked, other] = [startIsolate(), startIsolate()];
  const blob = someBlob();
  asked.proofs.record(blob, at(0));
  await asked.settled();
  for (const [seconds, sources] of [
    [899, ["memory", "cache"]],
    [900, [null, null]],
  ] as const) {
    for (const isolate of [asked, other]) isolate.setClock(seconds);
    expect([await asked.proofs.find(blob), await other.proofs.find(blob)]).toEqual(sources);
  }
});

test("a proof is not found for another repository, digest, Pod or Pod record", async () => {
  const { proofs, settled } = startIsolate();
  const blob = someBlob();
  proofs.record(blob, at(0));
  await settled();
  const record = (change: object) => ({ ...blob, pod: { ...podA, ...change } as Pod });
  for (const other of [
    { ...blob, repository: `${blob.repository}/x` as RepositoryName },
    { ...blob, digest: `sha256:${"e".repeat(64)}` as Digest },
    record({ id: "pod-b" }),
    record({ registry: "https://b.test" }),
    record({ blobs: { ...podA.blobs, proof: "head" } }),
    record({ blobs: { ...podA.blobs, proofTtlSeconds: 0 } }),
  ]) {
    expect(await proofs.find(other)).toBeNull();
  }
  expect(await proofs.find(blob)).toBe("memory");
});

test("a manifest records a proof where there is none, and does not renew one", async () => {
  const { proofs, setClock } = startIsolate();
  const blob = someBlob();
  await proofs.recordManifest(manifestOf(blob), [blob.digest], at(0));
  expect(await proofs.find(blob)).toBe("manifest");
  setClock(901);
  await proofs.recordManifest(manifestOf(blob), [blob.digest], at(901));
  expect(await proofs.find(blob)).toBeNull();
  proofs.record(blob, at(902));
  expect(await proofs.find(blob)).toBe("memory");
});

test("a proof that one isolate recorded is found by another in the cache", async () => {
  const [taught, other] = [startIsolate(), startIsolate()];
  const blob = someBlob();
  await taught.proofs.recordManifest(manifestOf(blob), [blob.digest], at(0));
  await taught.settled();
  expect(await other.proofs.find(blob)).toBe("cache");
});

test.each([
  ["without a proof", false],
  ["with proofs by manifest", true],
])("a tombstone reaches an isolate %s by the cache, and outlives the time of a proof", async (_, isTaught) => {
  const [deleting, other] = [startIsolate(), startIsolate()];
  const blob = someBlob();
  deleting.proofs.forget(blob);
  await deleting.settled();
  for (const seconds of [0, 901, 3_600]) {
    other.setClock(seconds);
    if (isTaught) await other.proofs.recordManifest(manifestOf(blob), [blob.digest], at(seconds));
    expect(await other.proofs.find(blob)).toBeNull();
  }
});

test("an isolate that has a proof of a deleted blob keeps it for the proof's time at most", async () => {
  const [deleting, other] = [startIsolate(), startIsolate()];
  const blob = someBlob();
  other.proofs.record(blob, at(0));
  deleting.proofs.forget(blob);
  await Promise.all([deleting.settled(), other.settled()]);
  other.setClock(900);
  await other.proofs.recordManifest(manifestOf(blob), [blob.digest], at(900));
  expect(await other.proofs.find(blob)).toBeNull();
});

test("a HEAD that was sent before a deletion records no proof, and one after it does", async () => {
  const { proofs, setClock } = startIsolate();
  const blob = someBlob();
  setClock(10);
  proofs.forget(blob);
  proofs.record(blob, at(10));
  expect(await proofs.find(blob)).toBeNull();
  proofs.record(blob, at(11));
  expect(await proofs.find(blob)).toBe("memory");
});

test("a deletion at another Pod counts at once in this isolate, and for a HEAD but not for a manifest that comes after it", async () => {
  const { proofs, settled, setClock } = startIsolate();
  const blob = someBlob();
  proofs.record(blob, at(0));
  setClock(10);
  proofs.forget({ ...blob, pod: { ...podA, id: "pod-b" as PodId, registry: "https://b.test" } });
  await settled();
  expect(await proofs.find(blob)).toBeNull();
  await proofs.recordManifest(manifestOf(blob), [blob.digest], at(11));
  expect(await proofs.find(blob)).toBeNull();
  proofs.record(blob, at(12));
  expect(await proofs.find(blob)).toBe("memory");
});

test("another Pod that lacks a blob does not end its proof, but a proof at the other Pod takes its place", async () => {
  const { proofs, settled } = startIsolate();
  const blob = someBlob();
  const there = { ...blob, pod: { ...podA, id: "pod-b" as PodId, registry: "https://b.test" } };
  proofs.record(blob, at(0));
  await proofs.forgetMissing(there, at(0));
  expect(await proofs.find(blob)).toBe("memory");
  proofs.record(there, at(1));
  await settled();
  expect([await proofs.find(blob), await proofs.find(there)]).toEqual([null, "memory"]);
});

test("a manifest at the new Pod of a repository proves a blob that has a proof of the old Pod, in this isolate and in others", async () => {
  const [first, second] = [startIsolate(), startIsolate()];
  const blob = someBlob();
  const there = { ...blob, pod: { ...podA, id: "pod-b" as PodId, registry: "https://b.test" } };
  first.proofs.record(blob, at(0));
  await first.settled();
  for (const { proofs, settled } of [first, second]) {
    await proofs.recordManifest(manifestOf(there), [there.digest], at(1));
    await settled();
    expect(await proofs.find(there)).not.toBeNull();
  }
});

test("a blob that a Pod no longer has loses its proof, and without a proof nothing is recorded", async () => {
  const { proofs, memory } = startIsolate();
  const [proved, unheard] = [someBlob(), someBlob()];
  proofs.record(proved, at(0));
  await proofs.forgetMissing(proved, at(0));
  await proofs.forgetMissing(unheard, at(0));
  expect(await proofs.find(proved)).toBeNull();
  expect(memory.known.size).toBe(1);
});

test("a blob that was proven after the Pod was asked keeps its proof, although the Pod's answer was that it lacks the blob", async () => {
  const [proving, asking] = [startIsolate(), startIsolate()];
  const blob = someBlob();
  proving.proofs.record(blob, at(2));
  await proving.settled();
  for (const { proofs, settled } of [proving, asking]) {
    await proofs.forgetMissing(blob, at(1));
    await settled();
    expect(await proofs.find(blob)).not.toBeNull();
  }
});

test("a blob that a Pod no longer has is not found while the Pod fails either, if its proof had expired by then", async () => {
  const state = { mayRead: true };
  for (const mayRead of [true, false]) {
    const { proofs, settled, setClock } = startIsolate(failing(state));
    const blob = someBlob();
    proofs.record(blob, at(0));
    await settled();
    setClock(1_000);
    expect(await proofs.find(blob)).toBeNull();
    expect(await proofs.findStale(blob)).toBe("cache");
    state.mayRead = mayRead;
    await proofs.forgetMissing(blob, at(0));
    await settled();
    state.mayRead = true;
    expect(await proofs.findStale(blob)).toBeNull();
    expect(await startIsolate().proofs.findStale(blob)).toBeNull();
  }
});

test("a HEAD that was under way in another isolate during a deletion does not overwrite the tombstone", async () => {
  const [deleting, asking, third] = [startIsolate(), startIsolate(), startIsolate()];
  const blob = someBlob();
  deleting.setClock(10);
  deleting.proofs.forget(blob);
  await deleting.settled();
  for (const sentAt of [9, 10]) {
    asking.proofs.record(blob, at(sentAt));
    await asking.settled();
    expect(await third.proofs.find(blob)).toBeNull();
  }
  asking.proofs.record(blob, at(11));
  await asking.settled();
  expect(await startIsolate().proofs.find(blob)).toBe("cache");
});

test("while the cache cannot be read, a HEAD proves a blob, but a manifest does not", async () => {
  const state = { mayRead: true };
  const [deleting, other] = [startIsolate(), startIsolate(failing(state))];
  const [deleted, kept, asked] = [someBlob(), someBlob(), someBlob()];
  deleting.proofs.forget(deleted);
  await deleting.settled();
  state.mayRead = false;
  for (const blob of [deleted, kept]) await other.proofs.recordManifest(manifestOf(blob), [blob.digest], at(0));
  other.proofs.record(asked, at(0));
  const findAll = () => Promise.all([deleted, kept, asked].map((blob) => other.proofs.find(blob)));
  expect(await findAll()).toEqual([null, null, "memory"]);
  // As soon as the cache can be read again, it shows which of the manifest's blobs were deleted.
  state.mayRead = true;
  expect(await findAll()).toEqual([null, "manifest", "memory"]);
});

test("a blob that the Pod lacks is forgotten if the cache cannot say whether it had a proof", async () => {
  const state = { mayRead: false };
  const { proofs, settled } = startIsolate(failing(state));
  const blob = someBlob();
  await proofs.recordManifest(manifestOf(blob), [blob.digest], at(0));
  await proofs.forgetMissing(blob, at(0));
  await settled();
  state.mayRead = true;
  expect(await proofs.find(blob)).toBeNull();
  expect(await startIsolate().proofs.find(blob)).toBeNull();
});

test("in a runtime without a cache, an isolate believes its HEADs but no manifest", async () => {
  const { proofs, settled } = startIsolate(noCache);
  const [asked, taught, deleted] = [someBlob(), someBlob(), someBlob()];
  proofs.record(asked, at(0));
  await proofs.recordManifest(manifestOf(taught), [taught.digest], at(0));
  proofs.forget(deleted);
  await proofs.recordManifest(manifestOf(deleted), [deleted.digest], at(0));
  await settled();
  expect(await Promise.all([asked, taught, deleted].map((blob) => proofs.find(blob)))).toEqual(["memory", null, null]);
});

test("a cache that holds something else or never answers gives no proof, and no manifest is believed", async () => {
  const blob = someBlob();
  const cache = (text: Promise<string>): CacheApi => ({
    open: () => Promise.resolve({ match: async () => new Response(await text), put: () => new Promise(() => {}) }),
  });
  for (const text of [Promise.resolve("{}"), Promise.resolve("<html>"), new Promise<string>(() => {})]) {
    const { proofs } = startIsolate(cache(text));
    await proofs.recordManifest(manifestOf(blob), [blob.digest], at(0));
    expect(await proofs.find(blob)).toBeNull();
  }
});

test("a manifest is not read again while the proofs that it recorded live", async () => {
  const { proofs, setClock } = startIsolate();
  const blob = someBlob();
  const elsewhere = { ...manifestOf(blob), repository: "acme/elsewhere" as RepositoryName };
  await proofs.recordManifest(manifestOf(blob), [blob.digest], at(0));
  await proofs.recordManifest(elsewhere, [], at(0));
  setClock(899);
  expect([proofs.hasManifest(manifestOf(blob)), proofs.hasManifest(elsewhere)]).toEqual([true, false]);
  setClock(900);
  expect(proofs.hasManifest(manifestOf(blob))).toBe(false);
});

const digests = (count: number) =>
  Array.from({ length: count }, (_, index) => `sha256:${index.toString(16).padStart(64, "0")}` as Digest);

test("the memory of proofs is bounded, and the oldest is dropped first", async () => {
  const { proofs, memory } = startIsolate(emptyCache);
  const blobs = Array.from({ length: 19_000 }, someBlob);
  for (const blob of blobs.slice(0, 18_000)) proofs.record(blob, at(0));
  await proofs.recordManifest(manifestOf(someBlob()), digests(1_500), at(0));
  for (const blob of blobs.slice(18_000)) proofs.forget(blob);
  expect([memory.known.size, memory.fromManifests.size]).toEqual([19_000, 1_488]);
  const [oldest, newest] = [blobs.at(0), blobs.at(-1)].map((blob) => memory.known.get(`${blob?.repository}/${digest}`));
  expect([oldest, newest?.kind]).toEqual([undefined, "tombstone"]);
});

test("the memory of manifests, and of proofs that wait for the cache, is bounded", async () => {
  const hanging: CacheApi = { open: () => new Promise(() => {}) };
  const { proofs, memory } = startIsolate(hanging);
  const taught = Array.from({ length: 3_000 }, someBlob).map((blob) =>
    proofs.recordManifest(manifestOf(blob), [blob.digest], at(0)),
  );
  expect([memory.fromManifests.size, memory.manifestsReadAtMs.size]).toEqual([2_000, 2_000]);
  await Promise.all(taught);
});
