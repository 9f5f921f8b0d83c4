import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { openEdgeGrant } from "../../src/auth/edge-grant.ts";
import { noneRejected } from "../../src/auth/verify.ts";
import type { Pod } from "../../src/directory/directory.ts";
import { createIsolate } from "../../src/isolate.ts";
import { err, ok, type Result } from "../../src/lib/result.ts";
import { generateSigningKey } from "../../src/local/toy/token-service.ts";
import { parseScopes } from "../../src/oci/scope.ts";
import type { Refusal } from "../../src/refusal.ts";
import type { Trace } from "../../src/telemetry/log-line.ts";
import type { PodAnswer } from "../../src/token-endpoint/ask-pod.ts";
import { askWithGrace } from "../../src/token-endpoint/grace.ts";
import { createRememberedGrants } from "../../src/token-endpoint/remembered-grants.ts";
import type { TokenRequest } from "../../src/token-endpoint/request.ts";
import { type Forge, signFor } from "../support/hostile-tokens.ts";

const forge: Forge = { ofA: await generateSigningKey(true), ofB: await generateSigningKey(true) };
const edgeKeys = [crypto.getRandomValues(new Uint8Array(32))];
const pod = {
  ...{ id: "pod-a", state: "active", token: "https://a.test/jwt/auth" },
  ...{ issuer: "pod-a-issuer", audience: "pod-a-registry", keys: [forge.ofA.publicJwk] },
  outage: { graceSeconds: 900, staleSeconds: 3600 },
} as unknown as Pod;
const stranger = {
  method: "GET",
  anonymous: true,
  authorization: null,
  passed: [],
  forwarded: {},
} as unknown as TokenRequest;

type Said = Result<Response, Refusal>;
let nowMs = 0;
let calls = 0;
let kept = new Map<string, string>();
let work: Promise<unknown>[] = [];
let trace: Trace;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  nowMs = Date.now();
  [calls, kept, work] = [0, new Map(), []];
  trace = { kvReads: 0, kvKeys: 0, podRequests: 0 };
});
afterEach(() => {
  vi.useRealTimers();
});

const cache = {
  match: async (path: string) => {
    calls += 1;
    return kept.has(path) ? new Response(kept.get(path)) : null;
  },
  put: async (path: string, response: Response) => {
    calls += 1;
    kept.set(path, await response.text());
  },
};
const grants = createRememberedGrants({ cache, edgeKeys, clock: () => new Date(nowMs) });

async function ask(
  names: readonly string[],
  said: Said | Promise<Said>,
  { signal = new AbortController().signal, request = stranger } = {},
) {
  const scopes = parseScopes(names.map((name) => `repository:${name}:pull`));
  const isolate = createIsolate();
  const answer = await askWithGrace({ pod, scopes, withCredentials: true, decides: false, isUsable: true }, request, {
    ...{ config: { edgeKeys }, tokens: isolate.tokens, rejected: noneRejected(), grants, signal, maxRepositories: 6 },
    ...{ now: new Date(nowMs), trace },
    callTokenService: async () => said,
    waitUntil: (promise) => void work.push(promise),
  });
  await Promise.all(work.splice(0));
  nowMs += 1;
  return answer;
}

const repositoriesOf = (names: readonly string[], actions = ["pull"]) =>
  names.map((name) => ({ type: "repository", name, actions }));
const tokenFor = async (access: unknown, key = forge.ofA.privateKey): Promise<Said> =>
  ok(Response.json({ token: await signFor(forge, { access, exp: nowMs / 1000 + 300 }, {}, key) }));
const status = (code: number): Said => ok(new Response(null, { status: code }));
const down: Said = err({ reason: "unreachable", text: "connection failed" });

/** What the edge grants in place of the Pod; null if it grants nothing. */
async function ownGrant(answer: PodAnswer): Promise<readonly string[] | null> {
  if (answer.kind !== "granted" || answer.part.kind !== "edge") return null;
  const access = await openEdgeGrant(answer.part.sealed, pod.id, { edgeKeys, now: new Date(nowMs) });
  return access === null || access === "forged" ? [] : access.map(({ name }) => name);
}
const grantedWhile = async (names: readonly string[], said: Said) => ownGrant(await ask(names, said));

describe("grace", () => {
  test("what is remembered is what the token allows, and not what was asked for", async () => {
    const access = [
      ...repositoriesOf(["acme/a", "acme/more"]),
      ...repositoriesOf(["acme/all"], ["*"]),
      ...repositoriesOf(["acme/b"], ["push"]),
    ];
    await ask(["acme/a", "acme/b"], await tokenFor([...access, { type: "registry", name: "catalog", actions: ["*"] }]));
    const names = ["acme/a", "acme/b", "acme/more", "acme/all", "catalog", "acme/none"];
    expect(await grantedWhile(names, down)).toEqual(["acme/a", "acme/more", "acme/all"]);
  });

  test("a token that does not verify grants nothing later", async () => {
    await ask(["acme/a"], await tokenFor(repositoriesOf(["acme/a"]), forge.ofB.privateKey));
    expect(await grantedWhile(["acme/a"], down)).toBeNull();
  });

  test("a token without the right ends the grace, as a refusal does", async () => {
    await ask(["acme/a", "acme/b"], await tokenFor(repositoriesOf(["acme/a", "acme/b"])));
    await ask(["acme/a", "acme/b"], await tokenFor(repositoriesOf(["acme/b"])));
    expect(await grantedWhile(["acme/a", "acme/b"], down)).toEqual(["acme/b"]);
  });

  test("a token that allows a stranger nothing ends the grace", async () => {
    await ask(["acme/a"], await tokenFor(repositoriesOf(["acme/a"])));
    expect((await ask(["acme/a"], await tokenFor([]))).kind).toBe("refused");
    expect(await grantedWhile(["acme/a"], down)).toBeNull();
  });

  test.each<[string, "grants" | "does not grant", Said]>([
    ["refuses the connection", "grants", down],
    ["is silent", "grants", err({ reason: "silent", text: "no answer" })],
    ["answers 500", "grants", status(500)],
    ["answers 599", "grants", status(599)],
    ["answers what is not a token", "does not grant", ok(new Response("{}"))],
    ["answers a redirect", "does not grant", status(302)],
    ["answers 429", "does not grant", status(429)],
    ["answers 400", "does not grant", status(400)],
    ["is not configured", "does not grant", err({ reason: "misconfigured", text: "no secret" })],
    ["is recorded as down", "does not grant", err({ reason: "down", text: "maintenance" })],
  ])("while the token service %s, the edge %s", async (_, does, said) => {
    await ask(["acme/a"], await tokenFor(repositoriesOf(["acme/a"])));
    expect(await grantedWhile(["acme/a"], said)).toEqual(does === "grants" ? ["acme/a"] : null);
  });

  test("a call that is late goes on after the edge's own grant, and its refusal ends the next one", async () => {
    await ask(["acme/a"], await tokenFor(repositoriesOf(["acme/a"])));
    const late = Promise.withResolvers<Said>();
    const asked = ask(["acme/a"], late.promise);
    await vi.advanceTimersByTimeAsync(10_000);
    while (trace.grace === undefined) await new Promise(setImmediate);
    late.resolve(status(403));
    expect(await ownGrant(await asked)).toEqual(["acme/a"]);
    expect(await grantedWhile(["acme/a"], down)).toBeNull();
  });

  test("a call that is late is waited for if nothing is remembered", async () => {
    const late = Promise.withResolvers<Said>();
    const asked = ask(["acme/a"], late.promise);
    await vi.advanceTimersByTimeAsync(20_000);
    late.resolve(tokenFor(repositoriesOf(["acme/a"])));
    expect(await asked).toMatchObject({ kind: "granted", part: { kind: "pod" } });
  });

  test("a call that was given up costs no look-up", async () => {
    const given = new AbortController();
    given.abort();
    await ask(["acme/a"], down, { signal: given.signal });
    expect(calls).toBe(0);
  });

  test("a grant ends with the first of its repositories, and after five minutes at most", async () => {
    await ask(["acme/a"], await tokenFor(repositoriesOf(["acme/a"])));
    const first = await ask(["acme/a"], down);
    expect(first).toMatchObject({ part: { endsAt: new Date(Math.floor((nowMs - 1 + 300_000) / 1000) * 1000) } });
    const askedAtMs = nowMs - 2;
    nowMs += 800_000;
    await ask(["acme/b"], await tokenFor(repositoriesOf(["acme/b"])));
    const both = await ask(["acme/a", "acme/b"], down);
    expect(both).toMatchObject({ part: { endsAt: new Date(Math.floor((askedAtMs + 900_000) / 1000) * 1000) } });
    expect(await ownGrant(await ask(["acme/b"], down))).toEqual(["acme/b"]);
  });

  const manyNames = Array.from({ length: 200 }, (_, index) => `acme/mirror-${index}`);
  const user = { ...stranger, anonymous: false, authorization: `Basic ${btoa("demo:demo")}` };

  test("a user's token for 200 repositories costs few calls of the cache, to remember and to forget", async () => {
    for (const said of [await tokenFor(repositoriesOf(manyNames)), await tokenFor([]), status(403), status(401)]) {
      calls = 0;
      await ask(manyNames, said, { request: user });
      expect(calls).toBeGreaterThan(0);
      expect(calls).toBeLessThanOrEqual(18);
    }
  });

  test("the edge grants nothing to a request for more repositories than it remembers, because these many may be why the token service is late", async () => {
    await ask(["acme/a"], await tokenFor(repositoriesOf(["acme/a"])), { request: user });
    const others = manyNames.slice(0, 6);
    expect(await ownGrant(await ask(["acme/a", ...others], down, { request: user }))).toBeNull();
    expect(await ownGrant(await ask(["acme/a", ...others.slice(1)], down, { request: user }))).toEqual(["acme/a"]);
  });

  test("a 5xx to the long URL of many scopes is no failure, so no user gets a grant by asking for many repositories", async () => {
    await ask(["acme/a"], await tokenFor(repositoriesOf(["acme/a"])), { request: user });
    const long = await ask(["acme/a", ...manyNames], status(502), { request: user });
    expect(long).toMatchObject({ kind: "refused", answer: { value: { status: 502 } } });
    expect(await ownGrant(await ask(["acme/a"], status(502), { request: user }))).toEqual(["acme/a"]);
  });

  test.each<[string, () => Said | Promise<Said>]>([
    ["a 403", () => status(403)],
    ["a token without the right", () => tokenFor([])],
  ])("%s for more repositories than are forgotten one by one ends all grants of these credentials", async (_, said) => {
    const names = manyNames.slice(0, 7);
    for (const name of names) await ask([name], await tokenFor(repositoriesOf([name])), { request: user });
    const other = { ...user, authorization: `Basic ${btoa("other:other")}` };
    await ask(names.slice(0, 1), await tokenFor(repositoriesOf(names.slice(0, 1))), { request: other });
    await ask(names, await said(), { request: user });
    for (const name of names) expect(await ownGrant(await ask([name], down, { request: user }))).toBeNull();
    expect(await ownGrant(await ask(names.slice(0, 1), down, { request: other }))).toEqual(names.slice(0, 1));
  });

  test("a stranger's token for 200 repositories costs none", async () => {
    for (const said of [await tokenFor(repositoriesOf(manyNames)), await tokenFor([]), status(403), down]) {
      await ask(manyNames, said);
      expect(calls).toBe(0);
    }
  });
});
