import { afterAll, describe, expect, test } from "vitest";
import type { SeenTags, Tagged } from "../../src/manifests/tags.ts";
import type { CacheApi } from "../../src/net/location-cache.ts";
import type { Tag } from "../../src/oci/reference.ts";
import type { RepositoryName } from "../../src/oci/repository-name.ts";
import { at, digestOf, pod, someRepository, startIsolateAt, startLocation } from "../support/location.ts";

const location = await startLocation();
afterAll(() => location.stop());
const startIsolate = (cacheApi: CacheApi = location.caches) => startIsolateAt(cacheApi);
const someTag = (): Tagged => ({ pod: pod(), repository: someRepository(), tag: "1" as Tag });
const digestFor = async (tags: SeenTags, tagged: Tagged) => (await tags.find(tagged))?.digest ?? null;

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
    one.tags.move(tagged, digestOf("b"), at(8));
    await one.settled();
    for (const { tags, settled } of [one, two]) {
      tags.record(tagged, digestOf("a"), at(9));
      await settled();
    }
    for (const { tags } of [one, two, third]) expect(await digestFor(tags, tagged)).toBe(digestOf("b"));
  });

  test("if two digests are heard one right after the other, a slow write of the first does not replace the second", async () => {
    const entries = new Map<string, string>();
    const written = Promise.withResolvers<void>();
    let reads = 0;
    const slow: CacheApi = {
      open: async () => ({
        match: async (url) => {
          reads += 1;
          const text = entries.get(url);
          // A write reads the tag's entry and its tombstone. The reads of the first write end after the second write.
          if (reads <= 2) await written.promise;
          return text === undefined ? undefined : new Response(text);
        },
        put: async (url, response) => {
          entries.set(url, await response.text());
          written.resolve();
        },
      }),
    };
    const [seeing, other] = [startIsolate(slow), startIsolate(slow)];
    const tagged = someTag();
    seeing.tags.record(tagged, digestOf("a"), at(0));
    seeing.tags.record(tagged, digestOf("b"), at(1));
    await seeing.settled();
    for (const { tags } of [seeing, other]) expect(await digestFor(tags, tagged)).toBe(digestOf("b"));
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
    other.tags.move(tagged, digestOf("b"), at(11));
    await other.settled();
    for (const { tags } of [deleting, other]) expect(await digestFor(tags, tagged)).toBe(digestOf("b"));
  });

  test("after a push that could not read the location's cache, no isolate finds the earlier digest", async () => {
    const unreadable: CacheApi = {
      open: async (name) => ({
        match: () => Promise.reject(new Error("internal error")),
        put: async (url, response) => (await location.caches.open(name)).put(url, response),
      }),
    };
    const [pushing, other] = [startIsolate(unreadable), startIsolate()];
    const tagged = someTag();
    other.tags.record(tagged, digestOf("a"), at(0));
    await other.settled();
    pushing.setClock(11);
    pushing.tags.move(tagged, digestOf("b"), at(10));
    for (const _ of ["read", "write"]) await pushing.settled();
    other.setClock(12);
    expect(await digestFor(other.tags, tagged)).toBeNull();
    other.tags.record(tagged, digestOf("b"), at(12));
    expect(await digestFor(other.tags, tagged)).toBe(digestOf("b"));
  });

  test("one that was deleted or got another digest during a push is forgotten, because the order at the Pod is unknown", async () => {
    const changes: Record<string, (tags: SeenTags, tagged: Tagged) => unknown> = {
      deleted: (tags, tagged) => tags.forget(tagged),
      pushed: (tags, tagged) => tags.move(tagged, digestOf("b"), at(4)),
      seen: (tags, tagged) => tags.record(tagged, digestOf("b"), at(4)),
      same: (tags, tagged) => tags.move(tagged, digestOf("a"), at(4)),
    };
    for (const [change, apply] of Object.entries(changes)) {
      const [pushing, other] = [startIsolate(), startIsolate()];
      for (const changing of [pushing, other]) {
        const tagged = someTag();
        changing.setClock(5);
        await apply(changing.tags, tagged);
        await changing.settled();
        pushing.setClock(10);
        pushing.tags.move(tagged, digestOf("a"), at(3));
        await pushing.settled();
        await pushing.settled();
        for (const { tags } of [pushing, other, startIsolate()]) {
          expect([change, await digestFor(tags, tagged)]).toEqual([change, change === "same" ? digestOf("a") : null]);
        }
      }
    }
  });

  test("one that the Pod was found to lack is forgotten, and of one that was not seen nothing is remembered", async () => {
    const [seeing, other] = [startIsolate(), startIsolate()];
    const [lost, unheard] = [someTag(), someTag()];
    seeing.tags.record(lost, digestOf("a"), at(-1));
    await seeing.settled();
    await other.tags.forgetMissing(lost, at(0));
    await other.tags.forgetMissing(unheard, at(0));
    await other.settled();
    expect([await digestFor(seeing.tags, lost), other.memory.tags.size]).toEqual([null, 1]);
  });

  test("one that was seen or pushed after the Pod was asked stays, although the Pod's answer was that it lacks the tag", async () => {
    const changes: Record<string, (tags: SeenTags, tagged: Tagged) => void> = {
      seen: (tags, tagged) => tags.record(tagged, digestOf("a"), at(2)),
      pushed: (tags, tagged) => tags.move(tagged, digestOf("a"), at(2)),
    };
    for (const [change, apply] of Object.entries(changes)) {
      const [changing, asking] = [startIsolate(), startIsolate()];
      const tagged = someTag();
      changing.tags.record(tagged, digestOf("b"), at(0));
      for (const { setClock } of [changing, asking]) setClock(3);
      apply(changing.tags, tagged);
      await changing.settled();
      for (const { tags, settled } of [changing, asking]) {
        await tags.forgetMissing(tagged, at(1));
        await settled();
      }
      for (const { tags } of [changing, asking, startIsolate()]) {
        expect([change, await digestFor(tags, tagged)]).toEqual([change, digestOf("a")]);
      }
    }
  });

  test("a push that is sent after a request for it is not ended by that request's 404, even if the location's cache is slow", async () => {
    const { tags, settled, setClock } = startIsolate();
    const tagged = someTag();
    tags.record(tagged, digestOf("b"), at(0));
    await settled();
    setClock(5);
    await tags.forgetMissing(tagged, at(1));
    setClock(6);
    tags.move(tagged, digestOf("a"), at(2));
    await settled();
    for (const isolate of [{ tags }, startIsolate()]) expect(await digestFor(isolate.tags, tagged)).toBe(digestOf("a"));
  });

  test("what happens to it at another Pod counts for each isolate, but not that the other Pod lacks it", async () => {
    const there = pod({ id: "pod-b", registry: "https://b.test" });
    const changes: Record<string, (tags: SeenTags, tagged: Tagged) => unknown> = {
      moved: (tags, tagged) => tags.move(tagged, digestOf("b"), at(10)),
      seen: (tags, tagged) => tags.record(tagged, digestOf("a"), at(10)),
      deleted: (tags, tagged) => tags.forget(tagged),
      missing: (tags, tagged) => tags.forgetMissing(tagged, at(10)),
    };
    for (const [change, apply] of Object.entries(changes)) {
      const [seeing, changing] = [startIsolate(), startIsolate()];
      const tagged = someTag();
      seeing.tags.record(tagged, digestOf("a"), at(0));
      await seeing.settled();
      changing.setClock(10);
      await apply(changing.tags, { ...tagged, pod: there });
      await changing.settled();
      for (const { tags } of [seeing, changing]) {
        expect([change, await digestFor(tags, tagged)]).toEqual([change, change === "missing" ? digestOf("a") : null]);
      }
    }
  });

  test("with staleSeconds 0, a pull writes nothing, and a push ends what was seen while it was more", async () => {
    const [seeing, { tags, memory, settled }] = [startIsolate(), startIsolate()];
    const seen = someTag();
    const off = { ...seen, pod: pod({ outage: { staleSeconds: 0 } }) };
    seeing.tags.record(seen, digestOf("a"), at(-1));
    await seeing.settled();
    tags.record(off, digestOf("a"), at(0));
    await settled();
    expect([memory.tags.size, await digestFor(tags, off), await digestFor(tags, seen)]).toEqual([
      0,
      null,
      digestOf("a"),
    ]);
    tags.move(off, digestOf("b"), at(0));
    await settled();
    for (const isolate of [seeing, startIsolate()]) expect(await digestFor(isolate.tags, seen)).toBeNull();
  });

  test("a push at a Pod with a short staleSeconds ends for long what an earlier Pod said", async () => {
    const kept: number[] = [];
    const noting: CacheApi = {
      open: async () => ({
        match: async () => undefined,
        put: async (_, { headers }) => void kept.push(Number(headers.get("Cache-Control")?.replace("max-age=", ""))),
      }),
    };
    const { tags, settled } = startIsolate(noting);
    tags.move({ ...someTag(), pod: pod({ outage: { staleSeconds: 1 } }) }, digestOf("a"), at(0));
    await settled();
    expect(kept).toEqual([24 * 3600]);
  });
});

test("the memory of tags is bounded", () => {
  const { tags, memory } = startIsolate({ open: () => Promise.reject(new Error("No Cache was configured")) });
  for (let each = 0; each < 2_000; each += 1) tags.record(someTag(), digestOf("a"), at(0));
  expect(memory.tags.size).toBe(1_500);
});
