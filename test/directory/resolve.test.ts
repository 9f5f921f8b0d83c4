import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { assignedPods, resolvePod } from "../../src/directory/resolve.ts";
import type { PlainHttp } from "../../src/lib/address.ts";
import { parseRepositoryName } from "../../src/oci/repository-name.ts";
import { type Isolate, startIsolate, startKv } from "../support/isolate.ts";

const pod = (registry: string) => ({
  v: 1,
  revision: 1,
  state: "active",
  registry,
  token: `${registry}/jwt/auth`,
  issuer: "i",
  audience: "a",
  keys: [],
});
const active = (id: string) => ({ v: 1, pod: id, revision: 1, state: "active" });

let kv: Awaited<ReturnType<typeof startKv>>;
beforeAll(async () => {
  kv = await startKv();
});
afterAll(() => kv.stop());

let isolate: Isolate;
beforeEach(() => {
  isolate = startIsolate(kv.kv);
});

async function put(records: Readonly<Record<string, unknown>>): Promise<void> {
  for (const { name } of (await kv.kv.list()).keys) await kv.kv.delete(name);
  for (const [key, record] of Object.entries(records))
    await kv.kv.put(key, typeof record === "string" ? record : JSON.stringify(record));
}

async function resolve(text: string, plainHttp: PlainHttp = "nowhere") {
  const name = parseRepositoryName(text);
  if (!name.ok) throw new Error(name.error);
  const resolution = await resolvePod(isolate.directory(plainHttp), { name: name.value });
  if (!resolution.ok) return resolution.error.text;
  return resolution.value.blocked ?? resolution.value.pod?.id ?? null;
}

describe("resolvePod", () => {
  const records = {
    "pod/pod-a": pod("https://a.test"),
    "pod/pod-b": pod("https://b.test"),
    "route/acme": active("pod-a"),
    "route/acme/team": active("pod-b"),
    blocks: { v: 1, revision: 1, blocks: { "acme/bad": "leaked" } },
  };

  test.each([
    ["acme", "pod-a"],
    ["acme/app", "pod-a"],
    ["acme/team", "pod-b"],
    ["acme/team/app", "pod-b"],
    ["acme/teams", "pod-a"],
    ["acmecorp", null],
    ["acmecorp/app", null],
    ["acme/bad/app", "leaked"],
    ["acme/badge", "pod-a"],
  ])("%s resolves to %s", async (name, expected) => {
    await put(records);
    expect(await resolve(name)).toBe(expected);
  });

  test("the default Pod owns every name that is not assigned", async () => {
    await put({ ...records, directory: { v: 1, default: "pod-b", credentials: "own", revision: 1 } });
    expect([await resolve("other"), await resolve("acme")]).toEqual(["pod-b", "pod-a"]);
  });

  test("a new name costs two reads, the second of the Pod's record; a known name costs none, and its new sibling one", async () => {
    await put(records);
    await resolve("acme/app");
    expect(isolate.trace.kvReads).toBe(2);
    await resolve("acme/app");
    expect(isolate.trace.kvReads).toBe(2);
    await resolve("acme/other");
    expect(isolate.trace.kvReads).toBe(3);
  });

  test("with depth 1, a new repository of a known group costs no read, and a deeper assignment is not looked up", async () => {
    await put({ ...records, directory: { v: 1, revision: 1, depth: 1 } });
    await resolve("acme/app");
    const reads = isolate.trace.kvReads;
    expect([await resolve("acme/other"), await resolve("acme/team/app")]).toEqual(["pod-a", "pod-a"]);
    expect(isolate.trace.kvReads).toBe(reads);
    // Only assignments are limited by the depth. All blocks are in one record, which has been read.
    expect([await resolve("acme/bad/app"), isolate.trace.kvReads]).toEqual(["leaked", reads]);
  });

  test("when the isolate's copies expire, directory, blocks and assignments are read again by one read", async () => {
    await put({ ...records, directory: { v: 1, revision: 1, depth: 1 } });
    await resolve("acme/app");
    isolate.nowMs += 31_000;
    const reads = isolate.trace.kvReads;
    await resolve("acme/app");
    // One read is of the directory record, the blocks and the assignments. The second read is of the Pod's record.
    expect(isolate.trace.kvReads - reads).toBe(2);
  });

  test("a deeper assignment is found as soon as the isolate sees the depth that was raised for it", async () => {
    await put({ ...records, directory: { v: 1, revision: 1, depth: 1 } });
    expect(await resolve("acme/team/app")).toBe("pod-a");
    await put({ ...records, directory: { v: 1, revision: 2, depth: 2 } });
    isolate.nowMs += 31_000;
    expect(await resolve("acme/team/app")).toBe("pod-b");
    await put({ ...records, directory: { v: 1, revision: 3, depth: 1 } });
    isolate.nowMs += 31_000;
    expect(await resolve("acme/team/app")).toBe("pod-a");
  });

  describe("renamed repository", () => {
    const renamedTo = (aliases: Readonly<Record<string, string>>) => ({
      ...records,
      directory: { v: 1, revision: 1, depth: 2, aliases },
    });

    test("an old name resolves to the Pod of its new name, whatever its own prefix says", async () => {
      await put(renamedTo({ "acme/team/app": "acme/app", "hooli/app": "acme/team/app2", hooli: "nowhere/app" }));
      expect(
        await Promise.all(["acme/team/app", "hooli/app", "hooli", "acme/team/app/sub"].map((name) => resolve(name))),
      ).toEqual([...["pod-a", "pod-b", null, "pod-b"]]);
    });

    test("a name that was not renamed reads the same keys as without old names", async () => {
      await put({ ...records, directory: { v: 1, revision: 1, depth: 2 } });
      await resolve("acme/app");
      const { kvReads, kvKeys } = isolate.trace;
      isolate = startIsolate(kv.kv);
      await put(renamedTo({ "acme/old": "acme/new" }));
      expect([await resolve("acme/app"), isolate.trace]).toEqual(["pod-a", { kvReads, kvKeys }]);
    });

    test("an old name costs one read more only when the isolate first sees that it was renamed", async () => {
      await put(renamedTo({ "hooli/old": "acme/app" }));
      expect([await resolve("hooli/old"), isolate.trace.kvReads]).toEqual(["pod-a", 3]);
      isolate.nowMs += 31_000;
      expect([await resolve("hooli/old"), isolate.trace.kvReads]).toEqual(["pod-a", 5]);
    });

    test("a new name is found as soon as the isolate sees it, and no longer once it is gone", async () => {
      await put({ ...records, directory: { v: 1, revision: 1, depth: 2 } });
      expect(await resolve("hooli/old")).toBeNull();
      await put(renamedTo({ "hooli/old": "acme/team/new" }));
      isolate.nowMs += 31_000;
      expect(await resolve("hooli/old")).toBe("pod-b");
      await put(renamedTo({ "hooli/old": "acme/new" }));
      isolate.nowMs += 31_000;
      expect(await resolve("hooli/old")).toBe("pod-a");
      await put(renamedTo({}));
      isolate.nowMs += 31_000;
      expect(await resolve("hooli/old")).toBeNull();
    });

    test("a name that JavaScript has as a property of all objects is an old name only if the record says so", async () => {
      await put({ ...records, directory: '{"v":1,"revision":1,"aliases":{"constructor":"acme/app"}}' });
      expect([await resolve("constructor"), await resolve("valueof")]).toEqual(["pod-a", null]);
    });
  });

  test("a block of a prefix that JavaScript has as a property of all objects holds, and no other such name is blocked", async () => {
    await put({
      ...records,
      "route/constructor": active("pod-a"),
      "route/valueof": active("pod-a"),
      blocks: '{"v":1,"revision":1,"blocks":{"constructor":"withdrawn"}}',
    });
    expect([await resolve("constructor/app"), await resolve("valueof/app")]).toEqual(["withdrawn", "pod-a"]);
  });

  test("a change is seen when the isolate's hit or miss has expired, and not before", async () => {
    await put(records);
    expect([await resolve("acme/app"), await resolve("initech")]).toEqual(["pod-a", null]);
    await put({ ...records, "route/acme": active("pod-b"), "route/initech": active("pod-b") });
    isolate.nowMs += 14_000;
    expect([await resolve("acme/app"), await resolve("initech")]).toEqual(["pod-a", null]);
    isolate.nowMs += 2_000;
    expect(await resolve("initech")).toBe("pod-b");
    isolate.nowMs += 15_000;
    expect(await resolve("acme/app")).toBe("pod-b");
  });

  test.each([
    ["text that is not JSON", { "route/acme": "{" }, /"route\/acme" is not JSON/],
    [
      "a later schema",
      { "route/acme": { ...active("pod-a"), v: 2 } },
      /"route\/acme" has "v": 2, so a newer podctl has/,
    ],
    ["no version", { "route/acme": { pod: "pod-a", state: "active", revision: 1 } }, /"route\/acme" has no "v"$/],
    ["an unknown member", { "route/acme": { ...active("pod-a"), to: 1 } }, /"route\/acme" has an unknown member "to"$/],
    ["an unknown state", { "route/acme": { ...active("pod-a"), state: "gone" } }, /"route\/acme" is wrong at "state"/],
    ["a depth of 0", { directory: { v: 1, revision: 1, depth: 0 } }, /"directory" is wrong at "depth"/],
    ["an old name that is none", { directory: { v: 1, revision: 1, aliases: { Acme: "acme" } } }, /wrong at "aliases"/],
    [
      "a new name that is none",
      { directory: { v: 1, revision: 1, aliases: { acme: "acme//app" } } },
      /wrong at "aliases"/,
    ],
    ["a block without a text", { blocks: { v: 1, revision: 1, blocks: { acme: 1 } } }, /"blocks" is wrong at "blocks"/],
    [
      "more blocks than 10,000",
      {
        blocks: {
          v: 1,
          revision: 1,
          blocks: Object.fromEntries(Array.from({ length: 10_001 }, (_, index) => [`a${index}`, "x"])),
        },
      },
      /"blocks" is wrong at "blocks": want at most 10000 entries/,
    ],
    ["a bad Pod id", { "route/acme": active("Pod_A") }, /"route\/acme" is wrong at "pod"/],
    ["a Pod without a record", { "route/acme": active("pod-c") }, /"pod-c", which has no record/],
    [
      "a Pod on plain HTTP",
      { "route/acme": active("pod-a"), "pod/pod-a": pod("http://a.test") },
      /"pod\/pod-a" has a URL that is not https/,
    ],
    [
      "a store on plain HTTP",
      {
        "route/acme": active("pod-a"),
        "pod/pod-a": {
          ...pod("https://a.test"),
          blobs: { stores: [{ scheme: "public", baseUrl: "http://cdn.test" }] },
        },
      },
      /"pod\/pod-a" has a URL that is not https/,
    ],
    [
      "a store of an unknown scheme",
      {
        "route/acme": active("pod-a"),
        "pod/pod-a": { ...pod("https://a.test"), blobs: { stores: [{ scheme: "s4", baseUrl: "https://cdn.test" }] } },
      },
      /"pod\/pod-a" is wrong at "blobs.stores.0.scheme": want .*"s3"/,
    ],
    [
      "a bucket at an endpoint without https://",
      {
        "route/acme": active("pod-a"),
        "pod/pod-a": {
          ...pod("https://a.test"),
          blobs: {
            stores: [{ scheme: "s3", endpoint: "s3.test", region: "r", bucket: "blobs", credentials: "sealed" }],
          },
        },
      },
      /"pod\/pod-a" is wrong at "blobs.stores.0.endpoint": want URL$/,
    ],
    [
      "a password in a registry that is no URL",
      { "route/acme": active("pod-a"), "pod/pod-a": pod("https//user:hush@a.test") },
      /"pod\/pod-a" is wrong at "registry": want URL$/,
    ],
    [
      "a private key",
      {
        "route/acme": active("pod-a"),
        "pod/pod-a": { ...pod("https://a.test"), keys: [{ kty: "RSA", kid: "k", alg: "RS256", d: "secret" }] },
      },
      /"pod\/pod-a" is wrong at "keys.0"/,
    ],
    [
      "an Access client id that no header can have",
      {
        "route/acme": active("pod-a"),
        "pod/pod-a": { ...pod("https://a.test"), trust: { kind: "access", clientId: "a\nb", clientSecret: "sealed" } },
      },
      /"pod\/pod-a" is wrong at "trust.clientId"/,
    ],
    [
      "a time that JavaScript cannot read",
      {
        "route/acme": {
          ...{ v: 1, pod: "pod-a", revision: 1, state: "active" },
          move: { to: "pod-b", phase: "freeze", since: "2026-11-23T10:00:00+00" },
        },
      },
      /"route\/acme" is wrong at "move.since": want a time, as in 2026-11-23T10:00:00Z$/,
    ],
  ])("%s in a record is an error that names the key, never a guess", async (_, records, expected) => {
    await put({ "pod/pod-b": pod("https://b.test"), directory: { v: 1, default: "pod-b", revision: 1 }, ...records });
    expect(await resolve("acme/app")).toMatch(expected);
  });

  test.each([
    ["http://a.test", ["everywhere"]],
    ["http://127.0.0.1:5000", ["everywhere", "loopback"]],
    ["http://registry.localhost", ["everywhere", "loopback"]],
    ["https://a.test", ["everywhere", "loopback", "nowhere"]],
  ])("a Pod at %s is resolved only if plain HTTP is allowed as one of %j", async (registry, allowed) => {
    await put({ "route/acme": active("pod-a"), "pod/pod-a": pod(registry) });
    for (const plainHttp of ["everywhere", "loopback", "nowhere"] as const) {
      isolate = startIsolate(kv.kv);
      const resolved = (await resolve("acme/app", plainHttp)) === "pod-a";
      expect([plainHttp, resolved]).toEqual([plainHttp, allowed.includes(plainHttp)]);
    }
  });

  test("a Pod whose token service is at HTTPS:// in capital letters is resolved, because podctl accepts this URL", async () => {
    const token = "HTTPS://Token.test/jwt/auth";
    await put({ "route/acme": active("pod-a"), "pod/pod-a": { ...pod("https://a.test"), token } });
    expect(await resolve("acme/app")).toBe("pod-a");
  });
});

test("of many names, the first is looked up even if it needs more keys than are allowed, so that a catalog goes on", async () => {
  await put({ directory: { v: 1, revision: 1, default: "pod-a", credentials: "own" } });
  const names = ["a/b/c/d/e", "f"].flatMap((text) => {
    const name = parseRepositoryName(text);
    return name.ok ? [name.value] : [];
  });
  const found = await assignedPods(isolate.directory("nowhere"), names, { chosenBy: "pod", maxKeys: 4 });
  expect(found.ok ? [...found.value.keys()] : found.error.text).toEqual(["a/b/c/d/e"]);
});
