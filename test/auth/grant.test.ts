import { afterAll, beforeEach, describe, expect, test, vi } from "vitest";
import { sealEdgeGrant } from "../../src/auth/edge-grant.ts";
import { grantFor, identify, issuersOf, readToken } from "../../src/auth/grant.ts";
import { noneRejected } from "../../src/auth/verify.ts";
import type { PodId } from "../../src/directory/pod-id.ts";
import type { SigningKey } from "../../src/local/toy/token-service.ts";
import { generateSigningKey } from "../../src/local/toy/token-service.ts";
import type { Trace } from "../../src/telemetry/log-line.ts";
import { type Forge, signFor } from "../support/hostile-tokens.ts";
import { startIsolate, startKv } from "../support/isolate.ts";

const kv = await startKv();
afterAll(() => kv.stop());
const forge: Forge = { ofA: await generateSigningKey(true), ofB: await generateSigningKey(true) };
const next = await generateSigningKey(true);
const bKey = { kid: forge.ofB.publicJwk.kid ?? "" };

let isolate = startIsolate(kv.kv);
beforeEach(async () => {
  for (const { name } of (await kv.kv.list()).keys) await kv.kv.delete(name);
  await putPod("pod-a", [forge.ofA.publicJwk]);
  await putPod("pod-b", [forge.ofB.publicJwk]);
  await list(["pod-a", "pod-b"]);
  isolate = startIsolate(kv.kv);
});

/** Each list of `sharedRegistries` names the Pods of one registry. */
const list = (pods: readonly string[], sharedRegistries: readonly (readonly string[])[] = []) =>
  kv.kv.put("directory", JSON.stringify({ v: 1, revision: 1, credentials: "shared", pods, sharedRegistries }));

/** Writes the records that `podctl apply` writes for a Pod. */
async function putPod(id: string, keys: readonly SigningKey["publicJwk"][], more: object = {}): Promise<void> {
  const urls = { registry: `https://${id}.test`, token: `https://${id}.test/auth`, ...more };
  const checks = { issuer: `${id}-issuer`, audience: `${id}-registry`, keys };
  await kv.kv.put(`pod/${id}`, JSON.stringify({ v: 1, revision: 1, state: "active", ...urls, ...checks }));
  for (const { kid } of keys) await kv.kv.put(`key/${kid}`, JSON.stringify({ v: 1, pod: id }));
}

const directory = () => isolate.directory();
const trace: Pick<Trace, "subject"> = {};
const config = { edgeKeys: [crypto.getRandomValues(new Uint8Array(32))] };
const ports = () => ({
  directory: directory(),
  tokens: isolate.tokens,
  rejected: noneRejected(),
  now: new Date(isolate.nowMs),
  config,
  trace,
});

const wanted = { type: "repository", name: "acme/private", actions: ["pull"] };

/**
 * The first word is the answer of `grantFor`, which judges a pull at this Pod. The second is that of `identify`, which judges a request without a
 * repository.
 */
async function verdicts(sent: string, podId = "pod-a"): Promise<readonly string[]> {
  const token = readToken(`Bearer ${sent}`);
  if (!token.ok) return ["malformed"];
  const pod = await directory().pod(podId as PodId);
  if (!pod.ok || pod.value === null) throw new Error(`no ${podId}`);
  const grant = await grantFor(token.value, { pod: pod.value, wanted }, ports());
  const identified = await identify(token.value, ports());
  return [
    grant.ok ? grant.value.kind : grant.error.reason === "unauthorized" ? `${grant.error.error}` : grant.error.reason,
    identified.ok ? identified.value.grant.kind : "refused",
  ];
}

describe("key rotation", () => {
  const signedByNext = () => signFor(forge, {}, { kid: next.publicJwk.kid ?? "" }, next.privateKey);

  test("two keys of a Pod are good at the same time", async () => {
    await putPod("pod-a", [forge.ofA.publicJwk, next.publicJwk]);
    for (const jwt of [await signFor(forge), await signedByNext()]) {
      expect(await verdicts(`pods.v1.pod-a/${jwt}`)).toEqual(["granted", "granted"]);
      expect(await verdicts(jwt)).toEqual(["granted", "granted"]);
    }
  });

  test("only its Pod can judge a token with an unknown key, if the token names its Pod", async () => {
    const jwt = await signedByNext();
    expect(await verdicts(`pods.v1.pod-a/${jwt}`)).toEqual(["undecided", "undecided"]);
    expect(await verdicts(jwt)).toEqual(["invalid_token", "refused"]);
    const before = isolate.trace.kvReads;
    for (let request = 0; request < 20; request += 1) {
      await verdicts(`pods.v1.pod-a/${jwt}`);
      await verdicts(jwt);
    }
    expect(isolate.trace.kvReads).toBe(before);
  });

  test("a removed key and its remembered tokens are good until the isolate's copy of the record expires", async () => {
    const jwt = await signFor(forge);
    expect([await verdicts(`pods.v1.pod-a/${jwt}`), await verdicts(jwt)]).toEqual([
      ["granted", "granted"],
      ["granted", "granted"],
    ]);
    await putPod("pod-a", [next.publicJwk]);
    await kv.kv.delete(`key/${forge.ofA.publicJwk.kid}`);
    // The isolate's copy of a record expires after 30 s. A request after 20 s would replace the copy early, so we ask before 20 s and after 30 s.
    isolate.nowMs += 19_000;
    expect(await verdicts(`pods.v1.pod-a/${jwt}`)).toEqual(["granted", "granted"]);
    isolate.nowMs += 12_000;
    expect(await verdicts(`pods.v1.pod-a/${jwt}`)).toEqual(["undecided", "undecided"]);
    expect(await verdicts(jwt)).toEqual(["invalid_token", "refused"]);
    const rotated = await signFor(forge, {}, { kid: next.publicJwk.kid ?? "" }, next.privateKey);
    expect(await verdicts(`pods.v1.pod-a/${rotated}`)).toEqual(["granted", "granted"]);
  });
});

describe("Pods of one registry", () => {
  const registry = "https://one.test";
  const both = ["pod-a", "pod-b"];
  const signedByNext = () => signFor(forge, {}, { kid: next.publicJwk.kid ?? "" }, next.privateKey);

  test("a token with an unknown key is good for neither, because the registry cannot tell from which of them it is", async () => {
    await list(both, [both]);
    await putPod("pod-a", [forge.ofA.publicJwk], { registry });
    await putPod("pod-b", [forge.ofB.publicJwk], { registry });
    const jwt = await signedByNext();
    expect(await verdicts(`pods.v1.pod-a/${jwt}`)).toEqual(["invalid_token", "refused"]);
    expect(await verdicts(`pods.v1.pod-b/${jwt}`, "pod-b")).toEqual(["invalid_token", "refused"]);
    // A token without a `kid` may have its key in a certificate (`x5c`). The edge reads no certificate, so this key counts as unknown.
    const [, ...rest] = jwt.split(".");
    const withoutKid = [Buffer.from('{"alg":"RS256"}').toString("base64url"), ...rest].join(".");
    expect(await verdicts(`pods.v1.pod-a/${withoutKid}`)).toEqual(["invalid_token", "refused"]);
    expect(await verdicts(`pods.v1.pod-a/${await signFor(forge)}`)).toEqual(["granted", "granted"]);
  });

  test("a Pod with a registry of its own still judges a token with an unknown key", async () => {
    await list(both);
    await putPod("pod-b", [forge.ofB.publicJwk], { token: "https://pod-a.test" });
    expect(await verdicts(`pods.v1.pod-a/${await signedByNext()}`)).toEqual(["undecided", "undecided"]);
  });

  test.each([
    ["was repaired and lists no Pods", '{"v":1,"revision":2}'],
    ["lists only another Pod", '{"v":1,"revision":2,"pods":["pod-b"]}'],
    ["is missing", null],
  ])("if the directory record %s, a token with an unknown key is invalid, and a known key is good", async (_, text) => {
    if (text === null) await kv.kv.delete("directory");
    else await kv.kv.put("directory", text);
    expect(await verdicts(`pods.v1.pod-a/${await signedByNext()}`)).toEqual(["invalid_token", "refused"]);
    expect(await verdicts(`pods.v1.pod-a/${await signFor(forge)}`)).toEqual(["granted", "granted"]);
  });

  test("tokens with an unknown key read no record of a Pod that they do not name, however many Pods there are", async () => {
    const pods = Array.from({ length: 500 }, (_, index) => `pod-${index}`);
    await list(["pod-a", ...pods], [["pod-a", "pod-1"], pods.slice(2)]);
    await Promise.all(pods.slice(0, 8).map((id) => putPod(id, [])));
    const [, ...rest] = (await signFor(forge)).split(".");
    const withoutKid = [Buffer.from('{"alg":"RS256"}').toString("base64url"), ...rest].join(".");
    const bundle = `pods.v1.${pods
      .slice(0, 8)
      .map((id) => `${id}/${withoutKid}`)
      .join("~")}`;
    const before = isolate.trace.kvKeys;
    expect(await verdicts(bundle, "pod-0")).toEqual(["undecided", "undecided"]);
    expect(await verdicts(bundle, "pod-1")).toEqual(["invalid_token", "undecided"]);
    expect(isolate.trace.kvKeys - before).toBeLessThan(20);
  });
});

describe("tokens of two Pods", () => {
  test("if two Pods have one kid, each verifies with its own key only", async () => {
    const kid = forge.ofA.publicJwk.kid ?? "";
    await putPod("pod-b", [{ ...forge.ofB.publicJwk, kid }]);
    const ofB = { iss: "pod-b-issuer", aud: "pod-b-registry" };
    expect(await verdicts(`pods.v1.pod-b/${await signFor(forge, ofB)}`, "pod-b")).toEqual(["invalid_token", "refused"]);
    const byB = await signFor(forge, {}, {}, forge.ofB.privateKey);
    expect(await verdicts(`pods.v1.pod-a/${byB}`)).toEqual(["invalid_token", "refused"]);
    expect(await verdicts(`pods.v1.pod-b/${await signFor(forge, ofB, {}, forge.ofB.privateKey)}`, "pod-b")).toEqual([
      "granted",
      "granted",
    ]);
  });

  test("a part under another Pod's name is invalid and not undecided, because that would send it there", async () => {
    const good = await signFor(forge);
    expect(await verdicts(`pods.v1.pod-b/${good}`, "pod-b")).toEqual(["invalid_token", "refused"]);
  });

  test("one good part is enough for a login, whatever the other part is", async () => {
    const forged = await signFor(forge, { iss: "pod-b-issuer" }, {}, forge.ofB.privateKey);
    expect(await verdicts(`pods.v1.pod-b/${forged}~pod-a/${await signFor(forge)}`)).toEqual(["granted", "granted"]);
    expect(await verdicts(`pods.v1.pod-b/${forged}~pod-a/${await signFor(forge)}`, "pod-b")).toEqual([
      "invalid_token",
      "granted",
    ]);
  });
});

describe("bundle with a bad part", () => {
  const madeUp = [
    ["is not a JWT", "a.b.c"],
    ["has an unknown key", "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.e30.c2ln"],
  ] as const;

  test.each(madeUp)("if a part %s, an assigned name gets the same answer as a free one", async (_, made) => {
    const ofB = await signFor(forge, { iss: "pod-b-issuer", aud: "pod-b-registry" }, bKey, forge.ofB.privateKey);
    const token = readToken(`Bearer pods.v1.pod-b/${ofB}~pod-a/${made}`);
    if (!token.ok) throw new Error("malformed");
    const pods = await Promise.all((["pod-a", "pod-b"] as PodId[]).map((id) => directory().pod(id)));
    const heard = [null, ...pods.map((pod) => (pod.ok ? pod.value : null))].map(async (pod) => {
      const grant = await grantFor(token.value, { pod, wanted: { ...wanted, name: "some/name" } }, ports());
      return grant.ok ? grant.value.kind : grant.error;
    });
    const refused = { reason: "unauthorized", error: "invalid_token" };
    // `a.b.c` is no JWT, so the edge refuses it. A JWT with an unknown key goes to pod-a, which answers `invalid_token` too.
    const atItsPod = made === "a.b.c" ? refused : "undecided";
    expect(await Promise.all(heard)).toEqual([refused, atItsPod, refused]);
  });
});

describe("made-up keys and Pods", () => {
  test("they cost a bounded number of KV reads, and good tokens still work", async () => {
    const good = `pods.v1.pod-a/${await signFor(forge)}`;
    await verdicts(good);
    for (let index = 0; index < 100; index += 1) {
      const jwt = await signFor(forge, {}, { kid: String(index).padStart(43, "k") });
      await verdicts(jwt);
      await verdicts(`pods.v1.pod-a/${jwt}~pod-x${index}/${jwt}`);
    }
    // The made-up keys and Pods share a budget of 50 reads. The good token costs a few more reads.
    expect(isolate.trace.kvReads).toBeLessThanOrEqual(55);
    expect(await verdicts(good)).toEqual(["granted", "granted"]);
  });
});

test.each([
  ["", "null"],
  ["Basic ZGVtbzpkZW1v", "null"],
  ["Token a.b.c", "null"],
  ["Bearer", "null"],
  ["bearer ", "null"],
  ["Bearer a.b.c d.e.f", "invalid_token"],
  ["Bearer a.b", "invalid_token"],
])("an Authorization of %j has no token to read", (header, error) => {
  const token = readToken(header);
  expect(token.ok ? "ok" : token.error).toEqual({ reason: "unauthorized", error: error === "null" ? null : error });
});

test("a token's names are chosen by the Pod that signed them, whichever Pod they belong to", async () => {
  const ofB = { iss: "pod-b-issuer", aud: "pod-b-registry" };
  const jwtOfB = await signFor(forge, ofB, bKey, forge.ofB.privateKey);
  const issuers = async (sent: string, name = "acme/private") => {
    const token = readToken(`Bearer ${sent}`);
    return token.ok ? issuersOf(token.value, { ...wanted, name }, ports()) : "malformed";
  };
  expect(await issuers(`pods.v1.pod-b/${jwtOfB}`)).toEqual({ issuers: ["pod-b"] });
  expect(await issuers(jwtOfB)).toEqual({ issuers: ["pod-b"] });
  expect(await issuers(jwtOfB, "acme/other")).toBeNull();
  expect(await issuers(`pods.v1.pod-a/${jwtOfB}`)).toBeNull();
});

describe("forged grants of the edge's own", () => {
  const ids = ["pod-a", "pod-b", "pod-c", "pod-d", "pod-e"] as PodId[];
  const wantedCatalog = { type: "registry", name: "catalog", actions: ["*"] };

  test("a request opens at most two of them, however many it has and however many Pods check them", async () => {
    for (const id of ids) await putPod(id, [], { outage: { graceSeconds: 300 } });
    const other = [crypto.getRandomValues(new Uint8Array(32))];
    const seal = (pod: PodId) =>
      sealEdgeGrant({ pod, repositories: ["acme/app"], endsAt: new Date(isolate.nowMs + 60_000) }, { edgeKeys: other });
    const parts = await Promise.all(ids.map(async (id) => `${id}/edge.${await seal(id)}`));
    const token = readToken(`Bearer pods.v1.${parts.join("~")}`);
    if (!token.ok) throw new Error("malformed");
    const opened = vi.spyOn(crypto.subtle, "decrypt");
    const shared = ports();
    for (const id of ids) {
      const pod = await directory().pod(id);
      if (!pod.ok || pod.value === null) throw new Error(`no ${id}`);
      const grant = await grantFor(token.value, { pod: pod.value, wanted: wantedCatalog }, shared);
      expect(grant.ok).toBe(false);
    }
    expect(opened.mock.calls.length).toBe(2);
    opened.mockRestore();
  });
});
