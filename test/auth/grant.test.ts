import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { grantFor, identify, readToken } from "../../src/auth/grant.ts";
import type { PodId } from "../../src/directory/pod-id.ts";
import { generateSigningKey } from "../../src/local/toy/token-service.ts";
import type { SigningKey } from "../../src/local/types.ts";
import { type Forge, signFor } from "../support/hostile-tokens.ts";
import { startIsolate } from "../support/isolate.ts";
import { startKv } from "../support/kv.ts";

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
  isolate = startIsolate(kv.kv);
});

/** As topology files are applied: the Pod's record, and one for each of its keys. */
async function putPod(id: string, keys: readonly SigningKey["publicJwk"][]): Promise<void> {
  const urls = { registry: `https://${id}.test`, token: `https://${id}.test/auth` };
  const checks = { issuer: `${id}-issuer`, audience: `${id}-registry`, keys };
  await kv.kv.put(`pod/${id}`, JSON.stringify({ v: 1, revision: 1, state: "active", ...urls, ...checks }));
  for (const { kid } of keys) await kv.kv.put(`key/${kid}`, JSON.stringify({ v: 1, pod: id }));
}

const directory = () => isolate.directory();
const ports = () => ({ directory: directory(), tokens: isolate.tokens, now: new Date(isolate.nowMs) });

const wanted = { type: "repository", name: "acme/private", actions: ["pull"] };

/** One word for what the token gets: at its name, and where no name is asked for. */
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

  test("two keys of a Pod are good at a time", async () => {
    await putPod("pod-a", [forge.ofA.publicJwk, next.publicJwk]);
    for (const jwt of [await signFor(forge), await signedByNext()]) {
      expect(await verdicts(`pods.v1.pod-a/${jwt}`)).toEqual(["granted", "granted"]);
      expect(await verdicts(jwt)).toEqual(["granted", "granted"]);
    }
  });

  test("a key that the directory has not heard of is for its Pod to judge, if the token says whose it is", async () => {
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

  test("a removed key ends when the isolate's copy of the record does, remembered tokens of it too", async () => {
    const jwt = await signFor(forge);
    expect([await verdicts(`pods.v1.pod-a/${jwt}`), await verdicts(jwt)]).toEqual([
      ["granted", "granted"],
      ["granted", "granted"],
    ]);
    await putPod("pod-a", [next.publicJwk]);
    await kv.kv.delete(`key/${forge.ofA.publicJwk.kid}`);
    isolate.nowMs += 29_000;
    expect(await verdicts(`pods.v1.pod-a/${jwt}`)).toEqual(["granted", "granted"]);
    isolate.nowMs += 2_000;
    expect(await verdicts(`pods.v1.pod-a/${jwt}`)).toEqual(["undecided", "undecided"]);
    expect(await verdicts(jwt)).toEqual(["invalid_token", "refused"]);
    const rotated = await signFor(forge, {}, { kid: next.publicJwk.kid ?? "" }, next.privateKey);
    expect(await verdicts(`pods.v1.pod-a/${rotated}`)).toEqual(["granted", "granted"]);
  });
});

describe("between Pods", () => {
  test("a kid that two Pods' keys have opens each with its own key alone", async () => {
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

  test("a part under another Pod's name is invalid, and never undecided, which would send it there", async () => {
    const good = await signFor(forge);
    expect(await verdicts(`pods.v1.pod-b/${good}`, "pod-b")).toEqual(["invalid_token", "refused"]);
  });

  test("one good part is a login, whatever stands beside it", async () => {
    const forged = await signFor(forge, { iss: "pod-b-issuer" }, {}, forge.ofB.privateKey);
    expect(await verdicts(`pods.v1.pod-b/${forged}~pod-a/${await signFor(forge)}`)).toEqual(["granted", "granted"]);
    expect(await verdicts(`pods.v1.pod-b/${forged}~pod-a/${await signFor(forge)}`, "pod-b")).toEqual([
      "invalid_token",
      "granted",
    ]);
  });
});

describe("a part that does not verify", () => {
  const madeUp = [
    ["is no JWT", "a.b.c"],
    ["has a key that nobody knows", "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.e30.c2ln"],
  ] as const;

  test.each(madeUp)("and %s tells no name from a free one, whatever good part stands beside it", async (_, made) => {
    const ofB = await signFor(forge, { iss: "pod-b-issuer", aud: "pod-b-registry" }, bKey, forge.ofB.privateKey);
    const token = readToken(`Bearer pods.v1.pod-b/${ofB}~pod-a/${made}`);
    if (!token.ok) throw new Error("malformed");
    const pods = await Promise.all((["pod-a", "pod-b"] as PodId[]).map((id) => directory().pod(id)));
    const heard = [null, ...pods.map((pod) => (pod.ok ? pod.value : null))].map(async (pod) => {
      const grant = await grantFor(token.value, { pod, wanted: { ...wanted, name: "some/name" } }, ports());
      return grant.ok ? grant.value.kind : grant.error;
    });
    const refused = { reason: "unauthorized", error: "invalid_token" };
    // Its own Pod may know the key; the edge hears `invalid_token` from there too.
    const atItsPod = made === "a.b.c" ? refused : "undecided";
    expect(await Promise.all(heard)).toEqual([refused, atItsPod, refused]);
  });
});

describe("made-up names", () => {
  test("of keys and Pods cost a bounded number of isolate.trace.kvReads, and good tokens go on", async () => {
    const good = `pods.v1.pod-a/${await signFor(forge)}`;
    await verdicts(good);
    for (let index = 0; index < 100; index += 1) {
      const jwt = await signFor(forge, {}, { kid: String(index).padStart(43, "k") });
      await verdicts(jwt);
      await verdicts(`pods.v1.pod-a/${jwt}~pod-x${index}/${jwt}`);
    }
    // 50 for strangers, and the few that a good token needs.
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
])("Authorization %j is no token", (header, error) => {
  const token = readToken(header);
  expect(token.ok ? "ok" : token.error).toEqual({ reason: "unauthorized", error: error === "null" ? null : error });
});
