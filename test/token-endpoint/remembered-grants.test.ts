import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import type { Pod } from "../../src/directory/directory.ts";
import type { LocationCache } from "../../src/net/location-cache.ts";
import type { Credentials } from "../../src/token-endpoint/credentials.ts";
import { type Asker, createRememberedGrants } from "../../src/token-endpoint/remembered-grants.ts";
import { rememberedRepositories } from "../../src/token-endpoint/serve.ts";

const key = () => crypto.getRandomValues(new Uint8Array(32));
const [old, live] = [key(), key()];
const graceSeconds = 900;

const podOf = (id: string, token = `https://${id}.test/jwt/auth`) => ({ id, token, outage: { graceSeconds } }) as Pod;
const demo: Asker = { pod: podOf("pod-a"), credentials: ["password", btoa("demo:demo")] };
const stranger: Asker = { ...demo, credentials: ["anonymous"] };

let nowMs = 0;
let kept = new Map<string, { readonly text: string; readonly endsAtMs: number }>();
let unreadable = new Set<string>();
beforeEach(() => {
  nowMs = 1_800_000_000_000;
  kept = new Map();
  unreadable = new Set();
});
const cache: LocationCache = {
  match: async (path) => {
    if ([...unreadable].some((part) => path.startsWith(part))) return "unreadable";
    const entry = kept.get(path);
    return entry === undefined || entry.endsAtMs <= nowMs ? null : new Response(entry.text);
  },
  put: async (path, response, keepSeconds) =>
    void kept.set(path, { text: await response.text(), endsAtMs: nowMs + keepSeconds * 1_000 }),
};
const grants = (edgeKeys = [live]) => createRememberedGrants({ cache, edgeKeys, clock: () => new Date(nowMs) });
const found = async (asker: Asker, repositories = ["acme/app"], edgeKeys = [live]) => [
  ...(await grants(edgeKeys).find(asker, repositories)).keys(),
];
const remember = (asker: Asker, repositories = ["acme/app"], atMs = nowMs) =>
  grants().remember(asker, repositories, new Date(atMs));

describe("remembered grants", () => {
  test("a grant is found for graceSeconds, with the time at which it was asked for", async () => {
    await remember(demo);
    expect(await grants().find(demo, ["acme/app", "acme/other"])).toEqual(new Map([["acme/app", nowMs]]));
    nowMs += graceSeconds * 1_000 - 1;
    expect(await found(demo)).toEqual(["acme/app"]);
    nowMs += 1;
    expect(await found(demo)).toEqual([]);
  });

  test("a record with a shorter grace ends what was remembered with a longer one", async () => {
    await remember(demo);
    nowMs += 10_000;
    const shorter = { ...demo.pod, outage: { ...demo.pod.outage, graceSeconds: 10 } };
    expect(await found({ ...demo, pod: shorter })).toEqual([]);
  });

  test("a record with a longer grace counts for what was remembered and refused before, so that an operator can write it during an outage", async () => {
    const withGrace = (asker: Asker, seconds: number): Asker => ({
      ...asker,
      pod: { ...asker.pod, outage: { ...asker.pod.outage, graceSeconds: seconds } },
    });
    const other: Asker = { ...demo, credentials: ["password", btoa("other:other")] };
    for (const asker of [demo, other]) await remember(withGrace(asker, 10), ["acme/app", "acme/refused"]);
    nowMs += 1;
    await grants().forget(withGrace(demo, 1), ["acme/refused"]);
    await grants().forgetAll(withGrace(other, 1));
    nowMs += 10_000;
    expect(await found(withGrace(demo, 10))).toEqual([]);
    expect(await found(withGrace(demo, 3_600), ["acme/app", "acme/refused"])).toEqual(["acme/app"]);
    expect(await found(withGrace(other, 3_600), ["acme/app", "acme/refused"])).toEqual([]);
  });

  test("a refusal ends it for these credentials and this repository", async () => {
    for (const asker of [demo, stranger]) await remember(asker, ["acme/app", "acme/other"]);
    nowMs += 1;
    await grants().forget(demo, ["acme/app"]);
    expect(await found(demo, ["acme/app", "acme/other"])).toEqual(["acme/other"]);
    expect(await found(stranger, ["acme/app", "acme/other"])).toEqual(["acme/app", "acme/other"]);
  });

  test("a refusal of the credentials ends all that they were granted", async () => {
    for (const asker of [demo, stranger]) await remember(asker, ["acme/app", "acme/other"]);
    nowMs += 1;
    await grants().forgetAll(demo);
    expect(await found(demo, ["acme/app", "acme/other"])).toEqual([]);
    expect(await found(stranger, ["acme/app", "acme/other"])).toEqual(["acme/app", "acme/other"]);
  });

  test.each(["forget", "forgetAll"] as const)(
    "%s: a grant that was asked for before the refusal, and is remembered after it, does not come back; a later one does",
    async (how) => {
      const askedAtMs = nowMs;
      nowMs += 500;
      await (how === "forget" ? grants().forget(demo, ["acme/app"]) : grants().forgetAll(demo));
      await remember(demo, ["acme/app"], askedAtMs);
      expect(await found(demo)).toEqual([]);
      await remember(demo, ["acme/app"], nowMs);
      expect(await found(demo)).toEqual([]);
      nowMs += 1;
      await remember(demo);
      expect(await found(demo)).toEqual(["acme/app"]);
    },
  );

  test("a stranger's refusal is kept of what is remembered, and of nothing else", async () => {
    await grants().forget(stranger, ["acme/app", "made/up"]);
    expect(kept.size).toBe(0);
    await remember(stranger);
    nowMs += 1;
    await grants().forget(stranger, ["acme/app", "made/up"]);
    expect(kept.size).toBe(2);
    await remember(stranger, ["acme/app"], nowMs - 1);
    expect(await found(stranger)).toEqual([]);
  });

  test("a stranger's refusal is kept of what cannot be read, because it may be remembered", async () => {
    unreadable.add("grant/");
    await grants().forget(stranger, ["acme/app"]);
    unreadable.clear();
    await remember(stranger, ["acme/app"], nowMs);
    expect(await found(stranger)).toEqual([]);
  });

  test("a refusal holds even if the cache loses its tombstone", async () => {
    await remember(demo);
    await grants().forget(demo, ["acme/app"]);
    for (const path of kept.keys()) if (path.startsWith("tombstone")) kept.delete(path);
    expect(await found(demo)).toEqual([]);
  });

  test("while the edge's key is replaced, grants of both keys are found and forgotten", async () => {
    await grants([old]).remember(demo, ["acme/app"], new Date(nowMs));
    expect(await found(demo, ["acme/app"], [live, old])).toEqual(["acme/app"]);
    expect(await found(demo, ["acme/app"], [live])).toEqual([]);
    nowMs += 1;
    await grants([live, old]).forget(demo, ["acme/app"]);
    expect(await found(demo, ["acme/app"], [live, old])).toEqual([]);
    expect(await found(demo, ["acme/app"], [old])).toEqual([]);
    nowMs += 1;
    await grants([old]).remember(demo, ["acme/app"], new Date(nowMs));
    nowMs += 1;
    await grants([live, old]).forgetAll(demo);
    expect(await found(demo, ["acme/app"], [live, old])).toEqual([]);
  });

  test.each([["grant/"], ["tombstone"]])("if %s cannot be read, nothing is found", async (part) => {
    await remember(demo);
    unreadable.add(part);
    expect(await found(demo)).toEqual([]);
  });

  test("what was not written as a grant is not read as one", async () => {
    await remember(demo);
    for (const text of ["", "{}", "[]", '{"atMs":"1"}', `{"atMs":${nowMs},"more":1}`, "null"]) {
      for (const path of kept.keys()) kept.set(path, { text, endsAtMs: Number.POSITIVE_INFINITY });
      expect(await found(demo)).toEqual([]);
    }
  });

  test("nothing of credentials, Pod or repository is in the cache", async () => {
    await remember(demo);
    await grants().forget(demo, ["acme/app"]);
    await grants().forgetAll(demo);
    for (const [path, { text }] of kept) {
      expect(path).toMatch(/^(tombstone-of\/)?grant\/[0-9a-f]{64}$/);
      expect(text).toMatch(/^\{"atMs":\d+\}$/);
    }
  });
});

describe("key of a remembered grant", () => {
  /**
   * The words consist of few different characters, among them those of JSON. So if the key only joined the fields, two different grants would often
   * have the same key.
   */
  const word = fc.string({ unit: fc.constantFrom("a", ":", "/", '"', ",", "[", "]", "\\", "\ud800"), maxLength: 4 });
  const credentials: fc.Arbitrary<Credentials> = fc.oneof(
    fc.constant(["anonymous"] as const),
    fc.tuple(fc.constantFrom("password", "refresh-token"), word) as fc.Arbitrary<Credentials>,
  );
  const grant = fc.record({ pod: word, token: word, credentials, repository: word });
  type Grant = { pod: string; token: string; credentials: Credentials; repository: string };
  const pathOf = async ({ pod, token, credentials: who, repository }: Grant, edgeKey = live) => {
    kept.clear();
    await grants([edgeKey]).remember({ pod: podOf(pod, token), credentials: who }, [repository], new Date(nowMs));
    return [...kept.keys()][0];
  };

  test("two grants have the same key exactly if they are equal in each field", async () => {
    await fc.assert(
      fc.asyncProperty(grant, grant, async (one, other) => {
        const isEqual = JSON.stringify(one) === JSON.stringify(other);
        expect((await pathOf(one)) === (await pathOf(other))).toBe(isEqual);
      }),
      { numRuns: 500 },
    );
  });

  test("a grant that differs in only one field has another key", async () => {
    await fc.assert(
      fc.asyncProperty(grant, grant, async (one, other) => {
        for (const field of ["pod", "token", "credentials", "repository"] as const) {
          fc.pre(JSON.stringify(one[field]) !== JSON.stringify(other[field]));
          expect(await pathOf({ ...one, [field]: other[field] })).not.toBe(await pathOf(one));
        }
      }),
      { numRuns: 200 },
    );
  });

  test("another edge key gives another key", async () => {
    const one: Grant = { pod: "pod-a", token: "", credentials: ["anonymous"], repository: "acme/app" };
    expect(await pathOf(one, old)).not.toBe(await pathOf(one));
  });
});

/** A token request that does not ask for the catalog goes to at most five Pods, so these are all possible counts. */
test.each([1, 2, 3, 4, 5])(
  "with two edge keys and %d Pods, a request finds its grants by at most 50 calls, of Pods and of the location's cache",
  async (pods) => {
    let calls = 0;
    const counted: LocationCache = {
      match: (path) => {
        calls += 1;
        return cache.match(path);
      },
      put: (...kept) => cache.put(...kept),
    };
    const both = createRememberedGrants({ cache: counted, edgeKeys: [live, old], clock: () => new Date(nowMs) });
    const names = Array.from({ length: rememberedRepositories(pods) }, (_, index) => `acme/app-${index}`);
    for (let pod = 0; pod < pods; pod += 1) await both.find({ ...demo, pod: podOf(`pod-${pod}`) }, names);
    expect(calls).toBeGreaterThan(0);
    // `calls` has only the cache's calls. The edge also calls each Pod once.
    expect(calls + pods).toBeLessThanOrEqual(50);
  },
);
