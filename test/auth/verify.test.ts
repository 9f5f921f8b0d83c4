import { exportJWK, generateKeyPair, type JWK, type JWTHeaderParameters, SignJWT } from "jose";
import { describe, expect, test } from "vitest";
import { claimedAccess, noneRejected, verifyToken } from "../../src/auth/verify.ts";
import type { Pod } from "../../src/directory/directory.ts";
import { createIsolate } from "../../src/isolate.ts";
import { base64url, utf8 } from "../../src/lib/bytes.ts";

const now = new Date("2026-11-24T12:00:00Z");
const seconds = Math.floor(now.getTime() / 1000);
const kid = "A".repeat(43);
const keys = await generateKeyPair("RS256", { extractable: true });
const otherKeys = await generateKeyPair("RS256", { extractable: true });
const publicJwk = { ...(await exportJWK(keys.publicKey)), kid, alg: "RS256" };
const access = [{ type: "repository", name: "acme/app", actions: ["pull"] }];

const podWith = (jwk: JWK) => ({ id: "pod-a", issuer: "issuer", audience: "audience", keys: [jwk] }) as unknown as Pod;
const pod = podWith(publicJwk);
const { tokens } = createIsolate();
const goodClaims = { iss: "issuer", aud: "audience", exp: seconds + 300, nbf: seconds, access };

const sign = (claims: object, header: object = {}, key: CryptoKey | Uint8Array = keys.privateKey) =>
  new SignJWT({ ...goodClaims, ...claims })
    .setProtectedHeader({ alg: "RS256", kid, ...header } as JWTHeaderParameters)
    .sign(key);
const kindOf = async (jwt: string, at = now, by = pod) =>
  (await verifyToken(jwt, by, { tokens, rejected: noneRejected(), now: at })).kind;

describe("verifyToken", () => {
  test("a token with its Pod's key, issuer and audience is verified and says what it allows", async () => {
    const verified = { kind: "verified", access, subject: null };
    expect(await verifyToken(await sign({}), pod, { tokens, rejected: noneRejected(), now })).toEqual(verified);
  });

  test.each([
    ["an audience in a list", { aud: ["other", "audience"] }],
    ["no access, as in a login", { access: [] }],
    ["a null access, as from some services", { access: null }],
    ["an end 59 s ago", { exp: seconds - 59 }],
    ["a beginning in 59 s", { nbf: seconds + 59 }],
    ["ten audiences", { aud: [...Array(9).fill("other"), "audience"] }],
  ])("a token with %s is verified", async (_, claims) => expect(await kindOf(await sign(claims))).toBe("verified"));
});

describe("verifyToken, invalid tokens", () => {
  test.each([
    ["from another issuer", { iss: "other" }],
    ["for another audience", { aud: "other" }],
    ["for no audience", { aud: undefined }],
    ["that ended 61 s ago", { exp: seconds - 61 }],
    ["without an end", { exp: undefined }],
    ["that begins in 61 s", { nbf: seconds + 61 }],
    ["whose access is not a list", { access: "repository:acme/app:pull" }],
    ["whose access names by number", { access: [{ type: "repository", name: 7, actions: ["pull"] }] }],
    ["whose actions are a string", { access: [{ type: "repository", name: "acme/app", actions: "pull" }] }],
    ["for more audiences than registries read", { aud: [...Array(10).fill("other"), "audience"] }],
  ])("a token %s is invalid", async (_, claims) => expect(await kindOf(await sign(claims))).toBe("invalid"));

  test("a token that another key signed under the same kid is invalid", async () => {
    expect(await kindOf(await sign({}, {}, otherKeys.privateKey))).toBe("invalid");
  });

  test("a token that brings its own key is invalid", async () => {
    const jwk = await exportJWK(otherKeys.publicKey);
    expect(await kindOf(await sign({}, { jwk }, otherKeys.privateKey))).toBe("invalid");
  });

  test("a token with the public key as an HMAC secret is invalid", async () => {
    const secret = utf8(JSON.stringify(publicJwk));
    expect(await kindOf(await sign({}, { alg: "HS256" }, secret))).toBe("invalid");
  });

  test("a token with another algorithm of the same key is invalid", async () => {
    const { kty, n, e, d, p, q, dp, dq, qi } = await exportJWK(keys.privateKey);
    const jwk = { kty, n, e, d, p, q, dp, dq, qi } as JsonWebKey;
    const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-512" };
    const key = await crypto.subtle.importKey("jwk", jwk, algorithm, false, ["sign"]);
    expect(await kindOf(await sign({}, { alg: "RS512" }, key))).toBe("invalid");
  });

  test("a token without a signature or a readable header is invalid", async () => {
    const [, payload] = (await sign({})).split(".");
    const header = (value: object) => base64url(utf8(JSON.stringify(value)));
    for (const start of [header({ alg: "none", kid }), "x", header({ alg: "RS256", kid: 7 })]) {
      expect(await kindOf(`${start}.${payload}.x`)).toBe("invalid");
    }
  });

  test("a token whose payload was changed after signing is invalid", async () => {
    const [header, , signature] = (await sign({})).split(".");
    const payload = base64url(utf8(JSON.stringify({ ...goodClaims, access: [{ ...access[0], actions: ["*"] }] })));
    expect(await kindOf(`${header}.${payload}.${signature}`)).toBe("invalid");
  });
});

test("a token whose key is unknown or not named is left to its Pod", async () => {
  expect(await kindOf(await sign({}, { kid: "B".repeat(43) }))).toBe("unknown-key");
  expect(await kindOf(await sign({}, { kid: undefined }))).toBe("unknown-key");
});

test("a token with more than 2,000 entries of access is invalid, and its claims are not read", async () => {
  const of = (entries: number) => sign({ access: Array(entries).fill({}) });
  expect([await kindOf(await of(2_000)), await kindOf(await of(2_001))]).toEqual(["verified", "invalid"]);
  expect([claimedAccess(await of(2_000))?.length, claimedAccess(await of(2_001))]).toEqual([2_000, null]);
});

test("an entry of access without actions grants nothing, as registries read it", async () => {
  const entries = [
    { type: "repository", name: "acme/app" },
    { type: "repository", name: "acme/b", actions: null },
  ];
  const read = entries.map((entry) => ({ ...entry, actions: [] }));
  expect(await verifyToken(await sign({ access: entries }), pod, { tokens, rejected: noneRejected(), now })).toEqual({
    kind: "verified",
    access: read,
    subject: null,
  });
});

describe("remembered token", () => {
  test("it is not taken for another token, however much of it is the same", async () => {
    const jwt = await sign({ jti: "whole" });
    expect(await kindOf(jwt)).toBe("verified");
    const [head = "", payload = "", signature = ""] = jwt.split(".");
    const changed = (text: string) => text.slice(0, -2) + (text.endsWith("AA") ? "BB" : "AA");
    for (const other of [`${head}.${payload}.${changed(signature)}`, `${head}.${changed(payload)}.${signature}`]) {
      expect(await kindOf(other)).toBe("invalid");
    }
    expect(await kindOf(jwt, now, { ...pod, id: "pod-b" as Pod["id"], issuer: "other" })).toBe("invalid");
  });

  test("it is good no longer than the token is", async () => {
    const jwt = await sign({ exp: seconds + 10 });
    expect(await kindOf(jwt)).toBe("verified");
    expect(await kindOf(jwt, new Date(now.getTime() + 71_000))).toBe("invalid");
  });

  test("it is forgotten when the Pod's record loses the key or changes its issuer", async () => {
    const jwt = await sign({ jti: "once" });
    expect(await kindOf(jwt)).toBe("verified");
    expect(await kindOf(jwt, now, podWith({ ...publicJwk, kid: "C".repeat(43) }))).toBe("unknown-key");
    expect(await kindOf(jwt, now, { ...pod, issuer: "other" })).toBe("invalid");
  });
});

describe("verifyToken, several tokens of one request", async () => {
  const forged = await Promise.all([1, 2, 3].map((n) => sign({ n }, {}, otherKeys.privateKey)));
  const kindsOf = async (jwts: readonly string[], rejected = noneRejected()) => {
    const kinds: string[] = [];
    for (const jwt of jwts) kinds.push((await verifyToken(jwt, pod, { tokens, rejected, now })).kind);
    return kinds;
  };

  test("after two wrong signatures no more are checked, but a token that was verified before is still good", async () => {
    const known = await sign({ known: true });
    expect(await kindsOf([known])).toEqual(["verified"]);
    const unknown = await sign({ unknown: true });
    expect(await kindsOf([...forged, known, unknown])).toEqual([...Array(3).fill("invalid"), "verified", "invalid"]);
    expect(await kindsOf([unknown])).toEqual(["verified"]);
  });

  test("tokens that have ended or are for others do not count as forged, whatever their number", async () => {
    const others = await Promise.all(
      [{ exp: seconds - 61 }, { aud: "other" }, { iss: "other" }].map((claims) => sign(claims)),
    );
    const good = await sign({ fresh: true });
    expect(await kindsOf([...others, ...others, good])).toEqual([...Array(6).fill("invalid"), "verified"]);
  });

  test("the same wrong token counts once", async () => {
    const [one = ""] = forged;
    const good = await sign({ second: true });
    expect(await kindsOf([one, one, one, good])).toEqual([...Array(3).fill("invalid"), "verified"]);
  });
});
