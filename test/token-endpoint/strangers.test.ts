import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readClient } from "../../src/directory/clients.ts";
import type { BulkKv } from "../../src/directory/kv.ts";
import type { PodId } from "../../src/directory/pod-id.ts";
import { type ResolveQuestion, resolvePod } from "../../src/directory/resolve.ts";
import { readPage } from "../../src/edge/catalog-page.ts";
import { parseRepositoryName, type RepositoryName } from "../../src/oci/repository-name.ts";
import type { PlanBounds } from "../../src/token-endpoint/assign-scopes.ts";
import { planQuestions, strangerBounds, userBounds } from "../../src/token-endpoint/plan.ts";
import { parseTokenRequest } from "../../src/token-endpoint/request.ts";
import { type Isolate, startIsolate } from "../support/isolate.ts";

const pod = { v: 1, revision: 1, state: "active", registry: "https://a.test", token: "https://a.test/jwt/auth" };
const podIds = Array.from({ length: 500 }, (_, index) => `pod-${index}`);
const directoryRecord = { v: 1, pods: podIds, default: "pod-0", credentials: "shared", revision: 1 };
const records = new Map<string, unknown>([
  ["directory", directoryRecord],
  ...podIds.map((id) => [`pod/${id}`, { ...pod, issuer: id, audience: id, keys: [] }] as const),
  ["route/acme", { v: 1, pod: "pod-1", revision: 1, state: "active" }],
  ["cell/2k", { v: 1, pod: "pod-1" }],
]);

let fails = false;
let readKeys = 0;
const kv: BulkKv = {
  get: async (keys) => {
    if (fails) throw new Error("KV is gone");
    readKeys += keys.length;
    return new Map(keys.map((key) => [key, records.has(key) ? JSON.stringify(records.get(key)) : null]));
  },
};
let isolate: Isolate;
beforeEach(() => {
  fails = false;
  isolate = startIsolate(kv);
});

const nameOf = (text: string): RepositoryName => {
  const name = parseRepositoryName(text);
  if (!name.ok) throw new Error(name.error);
  return name.value;
};
const components = (count: number) => Array(count).fill("a").join("/");
let made = 0;
const madeUpNames = (count: number) =>
  Array.from({ length: count }, () => `x${(made++).toString(36)}/${components(19)}`);

async function ask(
  scopes: readonly string[],
  bounds: PlanBounds = strangerBounds({ anonymous: false }),
  asker = new Request("https://edge.test"),
) {
  const query = new URLSearchParams(scopes.map((scope) => ["scope", scope]));
  const request = await parseTokenRequest(new Request(`https://edge.test/jwt/auth?${query}`), "registry-edge");
  if (!request.ok) throw new Error(request.error.message);
  const before = readKeys;
  const visit = { client: readClient(asker), parsedCidrs: new WeakMap() };
  const plan = await planQuestions(request.value, { directory: isolate.directory(), visit }, bounds);
  return { plan, keys: readKeys - before };
}
const user = (name: string, id = "pod-0"): PlanBounds => userBounds({ user: name, pod: id as PodId });
const pull = (names: readonly string[]) => names.map((name) => `repository:${name}:pull`);

describe("token request of a stranger", () => {
  test.each([
    ["200 unknown names of 20 components", () => pull(madeUpNames(200))],
    ["200 unknown names below a known prefix", () => pull(madeUpNames(200).map((name) => `acme/${name.slice(0, -2)}`))],
    ["200 names of one component", () => pull(Array.from({ length: 200 }, (_, index) => `y${index}`))],
    ["the catalog of 500 Pods", () => ["registry:catalog:*"]],
    ["200 different catalog scopes", () => Array.from({ length: 200 }, (_, index) => `registry:catalog:a${index}`)],
  ])("at most 100 keys of KV are read for %s", async (_, scopes) => {
    for (const anonymous of [true, false]) {
      expect((await ask(scopes(), strangerBounds({ anonymous }))).keys).toBeLessThanOrEqual(100);
    }
  });

  test("names that were asked for first get their Pods, and the others are left out", async () => {
    const { plan } = await ask(pull(["acme/a", "acme/b", ...madeUpNames(10), "acme/c"]));
    if (!plan.ok) throw new Error("refused");
    const [acme, others] = plan.value.questions;
    expect(acme?.scopes.map(({ name }) => name)).toEqual(["acme/a", "acme/b"]);
    expect([others?.pod.id, others?.scopes.length, plan.value.isCut]).toEqual(["pod-0", 1, true]);
  });

  test("with a password, a second request goes on where the first one was cut", async () => {
    const scopes = pull(Array.from({ length: 60 }, (_, index) => `acme/project-${index}`));
    expect((await ask(scopes)).plan).toMatchObject({ ok: true, value: { isCut: true } });
    expect((await ask(scopes)).plan).toMatchObject({ ok: true, value: { isCut: false } });
  });

  test("scopes for the catalog become one of at most 20 actions", async () => {
    records.set("directory", { v: 1, pods: ["pod-0"], default: "pod-0", credentials: "shared", revision: 1 });
    const { plan } = await ask(Array.from({ length: 200 }, (_, index) => `registry:catalog:a${index},*`));
    records.set("directory", directoryRecord);
    expect(plan).toMatchObject({ ok: true, value: { questions: [{ scopes: [{ actions: { length: 20 } }] }] } });
  });

  test("a user whose credentials are good gets all names at once", async () => {
    const names = Array.from({ length: 200 }, (_, index) => `acme/mirror/of/x${index}/image`);
    const { plan } = await ask(pull(names), user("demo"));
    expect(plan).toMatchObject({ ok: true, value: { isCut: false, questions: [{ scopes: { length: 200 } }] } });
  });
});

describe("token request of a stranger with a password, for 190 names that known users asked for", () => {
  const names = Array.from({ length: 190 }, (_, index) => `acme/team-${index}`);
  beforeEach(async () => {
    records.set("directory", { ...directoryRecord, depth: 2 });
    for (const name of names) await resolvePod(isolate.directory(), { name: nameOf(name) });
  });
  afterEach(() => void records.set("directory", directoryRecord));

  test.each([
    ["a moment ago", 2_500],
    ["a minute ago", 60_000],
  ])("at most 100 keys of KV are read each time, if users asked %s", async (_, agoMs) => {
    for (let request = 0; request < 5; request += 1) {
      isolate.nowMs += request === 0 ? agoMs : 2_500;
      expect((await ask(pull(names))).keys).toBeLessThanOrEqual(100);
    }
  });

  test("values that are still current are used, so that no name is left out", async () => {
    isolate.nowMs += 2_500;
    const { plan } = await ask(pull(names));
    expect(plan).toMatchObject({ ok: true, value: { isCut: false, questions: [{ scopes: { length: 190 } }] } });
  });

  test("values that have expired are read first, so that the next requests go on where the first one was cut", async () => {
    isolate.nowMs += 60_000;
    const cut: boolean[] = [];
    for (let request = 0; request < 4; request += 1) {
      const { plan } = await ask(pull(names));
      cut.push(!plan.ok || plan.value.isCut);
      isolate.nowMs += 2_500;
    }
    expect(cut).toEqual([true, true, false, false]);
  });

  test("a name that was just moved gets its new Pod", async () => {
    records.set("route/acme/team-0", { v: 1, pod: "pod-2", revision: 2, state: "active" });
    isolate.nowMs += 2_500;
    const { plan } = await ask(pull(names));
    records.delete("route/acme/team-0");
    expect(plan).toMatchObject({
      ok: true,
      value: { questions: [{ pod: { id: "pod-2" } }, { pod: { id: "pod-1" } }] },
    });
  });
});

test("after 1,000 requests of strangers a KV outage still serves every name that a known user asked for in the last hour", async () => {
  const seen = Array.from({ length: 1_000 }, (_, index) => nameOf(`acme/team-${index}/app`));
  for (const [index, name] of seen.entries()) {
    await resolvePod(isolate.directory(), { name });
    isolate.nowMs += 3_500;
    await ask(pull(madeUpNames(200)));
    await resolvePod(isolate.directory(), { name: nameOf(`acme/b${index}/${components(18)}`), chosenBy: "stranger" });
  }
  fails = true;
  for (const name of seen) {
    expect(await resolvePod(isolate.directory(), { name })).toMatchObject({
      ok: true,
      value: { pod: { id: "pod-1" } },
    });
  }
  expect((await resolvePod(isolate.directory(), { name: nameOf("acme/unseen") })).ok).toBe(false);
});

test("the directory and the blocks, which every name needs, are not charged to the budget of strangers", async () => {
  const names = Array.from({ length: 10_001 }, (_, index) => nameOf(`z${index}`));
  const before = readKeys;
  const answers = [];
  for (const name of names) answers.push(await resolvePod(isolate.directory(), { name, chosenBy: "stranger" }));
  expect(answers.map(({ ok }) => ok).indexOf(false)).toBe(10_000);
  // The budget allows 10,000 keys. The directory, the blocks and the default Pod are read in addition, with the first name.
  expect(readKeys - before).toBe(10_003);
});

test("after a Pod's catalog of made-up names a KV outage still serves every name that a known user asked for", async () => {
  const seen = Array.from({ length: 100 }, (_, index) => nameOf(`acme/team-${index}/app`));
  for (const name of seen) await resolvePod(isolate.directory(), { name });
  for (let page = 0; page < 5; page += 1) {
    const response = Response.json({ repositories: madeUpNames(1_000) });
    const asked = { pod: "pod-0" as PodId, after: null, directory: isolate.directory(), podCount: 2 };
    expect((await readPage(response, asked)).ok).toBe(true);
  }
  fails = true;
  isolate.nowMs += 60_000;
  for (const name of seen) expect(await resolvePod(isolate.directory(), { name })).toMatchObject({ ok: true });
});

test("when strangers have spent their budget, new names must wait, and those of known users are served", async () => {
  const known = nameOf("acme/app");
  await resolvePod(isolate.directory(), { name: known });
  const before = readKeys;
  for (let count = 0; count < 300; count += 1) await ask(pull(madeUpNames(2)));
  expect(readKeys - before).toBeLessThan(10_500);
  expect((await ask(["repository:acme/new:pull"])).plan).toMatchObject({
    ok: false,
    error: { reason: "directory", text: expect.stringContaining("more new names were asked for") },
  });
  isolate.nowMs += 3_000;
  expect((await ask(["repository:acme/app:pull"])).plan).toMatchObject({ ok: true });
  expect(await resolvePod(isolate.directory(), { name: nameOf("acme/new") })).toMatchObject({ ok: true });
  isolate.nowMs += 10_000;
  expect((await ask(pull(madeUpNames(1)))).plan).toMatchObject({ ok: true });
});

test("when strangers have spent their budget, an assigned prefix that only strangers have asked for looks like a free one", async () => {
  records.set("directory", { ...directoryRecord, depth: 1 });
  const found = async () => {
    const asked = ["acme/app", "free/app"].map((name) =>
      resolvePod(isolate.directory(), { name: nameOf(name), chosenBy: "stranger" }),
    );
    return (await Promise.all(asked)).map(({ ok }) => ok);
  };
  expect(await found()).toEqual([true, true]);
  isolate.nowMs += 14_000;
  for (let count = 0; count < 300; count += 1) await ask(pull(Array.from({ length: 40 }, () => `w${made++}`)));
  expect(await found()).toEqual([true, true]);
  isolate.nowMs += 2_000;
  expect(await found()).toEqual([false, false]);
  records.set("directory", directoryRecord);
});

test("when strangers have spent their budget, a user with good credentials and the cell of a password still find their Pods", async () => {
  for (let count = 0; count < 300; count += 1) await ask(pull(madeUpNames(2)));
  expect((await ask(["repository:acme/new:pull"])).plan.ok).toBe(false);
  expect((await ask(["repository:acme/new:pull"], user("demo"))).plan).toMatchObject({ ok: true });
  expect(await isolate.directory().podOfCell("2k")).toEqual({ ok: true, value: "pod-1" });
  for (let cell = 0; cell < 2_000; cell += 1) await isolate.directory().podOfCell(`z${cell}`);
  isolate.nowMs += 9_000;
  expect(await isolate.directory().podOfCell("zz")).toMatchObject({ ok: false });
  // A cell that was found once costs the budget nothing, so it is found again although the budget is spent.
  isolate.nowMs += 31_000;
  for (let cell = 0; cell < 2_000; cell += 1) await isolate.directory().podOfCell(`y${cell}`);
  expect(await isolate.directory().podOfCell("2k")).toEqual({ ok: true, value: "pod-1" });
});

test("a user who asks for made-up names spends only a part of what the Pod's users may look up, and nothing of another Pod's users", async () => {
  const found = async (name: string, bounds: PlanBounds) =>
    (await ask([`repository:acme/${name}:pull`], bounds)).plan.ok;
  /** Returns how many requests, each with 1,000 new keys, are answered before one is refused. */
  const spend = async (bounds: PlanBounds): Promise<number> =>
    (await ask(pull(madeUpNames(50)), bounds)).plan.ok ? 1 + (await spend(bounds)) : 0;
  expect(await spend(user("reader"))).toBe(2);
  expect([await found("a", user("reader")), await found("b", user("demo"))]).toEqual([false, true]);
  const others: number[] = [];
  for (const name of ["one", "two", "three", "four", "five"]) others.push(await spend(user(name)));
  // All users of a Pod share 10,000 keys, and each request counted here takes 1,000. These users have what "reader" and "demo" left.
  expect(others).toEqual([2, 2, 2, 1, 0]);
  expect(await spend(user("five", "pod-1"))).toBe(2);
  isolate.nowMs += 10_000;
  expect(await found("c", user("reader"))).toBe(true);
});

test("token request for 200 repositories of one group: the group's conditions are judged once", async () => {
  const deny = Array.from({ length: 50 }, (_, index) => ({ asns: [index + 1] }));
  records.set("route/guarded", { v: 1, pod: "pod-1", revision: 1, state: "active", clients: { deny } });
  let reads = 0;
  const request = Object.defineProperty(new Request("https://edge.test"), "cf", {
    get: () => {
      reads += 1;
      return { asn: 64_500 };
    },
  });
  await resolvePod(isolate.directory(), { name: nameOf("guarded/known") });
  records.set("directory", { ...directoryRecord, depth: 1 });
  isolate.nowMs += 60_000;
  const scopes = pull(Array.from({ length: 200 }, (_, index) => `guarded/app-${index}`));
  const { plan } = await ask(scopes, strangerBounds({ anonymous: false }), request);
  records.set("directory", directoryRecord);
  expect(plan).toMatchObject({ ok: true, value: { questions: [{ scopes: { length: 200 } }] } });
  expect(reads).toBe(50);
});

describe("tokens of a hostile Pod", () => {
  const chosenBy = { issuers: ["pod-9" as PodId] } as const;
  const known = () => Array.from({ length: 100 }, (_, index) => nameOf(`acme/team-${index}/app`));

  test("after its tokens named 2,000 repositories of others, a KV outage still serves every name of theirs", async () => {
    for (const name of known())
      await resolvePod(isolate.directory(), { name, chosenBy: { issuers: ["pod-1" as PodId] } });
    for (let index = 0; index < 2_000; index += 1) {
      await resolvePod(isolate.directory(), { name: nameOf(`acme/e${index}/${components(18)}`), chosenBy });
      isolate.nowMs += 30;
    }
    fails = true;
    for (const name of known()) {
      expect(await resolvePod(isolate.directory(), { name })).toMatchObject({
        ok: true,
        value: { pod: { id: "pod-1" } },
      });
    }
  });

  test("they spend a budget of that Pod only", async () => {
    const ask = (text: string, asked: ResolveQuestion["chosenBy"] = chosenBy) =>
      resolvePod(isolate.directory(), { name: nameOf(text), chosenBy: asked });
    let failed = 0;
    for (let index = 0; index < 1_000; index += 1) {
      if (!(await ask(`acme/f${index}/${components(18)}`)).ok) failed += 1;
    }
    expect(failed).toBeGreaterThan(400);
    expect((await ask("acme/new", { issuers: ["pod-1" as PodId] })).ok).toBe(true);
    expect((await ask("acme/newer", { user: "demo", pod: "pod-9" as PodId })).ok).toBe(true);
    expect((await ask("acme/newest", "stranger")).ok).toBe(true);
    // In this bundle, the part of pod-9, the hostile Pod, comes first. Its budget is spent, so the budget of pod-1 pays.
    expect((await ask(`acme/own/${components(18)}`, { issuers: ["pod-9" as PodId, "pod-1" as PodId] })).ok).toBe(true);
  });
});

test("a user of many repositories of one group is never refused, because they share the keys of the group", async () => {
  records.set("directory", { ...directoryRecord, depth: 1 });
  const before = readKeys;
  for (let index = 0; index < 20_000; index += 1) {
    const name = nameOf(`acme/busy-${index}`);
    const found = await resolvePod(isolate.directory(), { name, chosenBy: { issuers: ["pod-1" as PodId] } });
    if (!found.ok) expect.unreachable(found.error.text);
  }
  records.set("directory", directoryRecord);
  expect(readKeys - before).toBeLessThan(50);
});
