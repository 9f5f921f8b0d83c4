import { createLocalJWKSet, decodeProtectedHeader, type JWTPayload, jwtVerify } from "jose";
import { describe, expect, test } from "vitest";
import { libtrustKeyId } from "../../../src/directory/key-id.ts";
import { createTokenService } from "../../../src/local/toy/token-service.ts";
import { basic, serveForTest, signingKey } from "../../support/toy-pod.ts";

const now = new Date("2026-03-01T12:00:00Z");

async function start() {
  const key = await signingKey();
  const options = { issuer: "pod-a-issuer", audience: "pod-a-registry", key, prefixes: ["acme"], now: () => now };
  const port = await serveForTest(createTokenService(options));
  const ask = (query: string, user: string | null, init: RequestInit = {}) =>
    fetch(`http://127.0.0.1:${port}${query}`, {
      ...init,
      headers: user === null ? {} : { Authorization: basic(user, user) },
    });
  const claims = async (query: string, user: string | null): Promise<JWTPayload> => {
    const { token } = (await (await ask(`/jwt/auth?service=pod-a-registry${query}`, user)).json()) as { token: string };
    const keys = createLocalJWKSet({ keys: [key.publicJwk] });
    return (await jwtVerify(token, keys, { currentDate: now })).payload;
  };
  return { key, ask, claims };
}

test("libtrustKeyId gives the id that openssl, sha256 and base32 give for a key that openssl made", async () => {
  const jwk = {
    kty: "RSA",
    alg: "RS256",
    e: "AQAB",
    n: "tlRsJLxVublkND7HYD8PoPi3YKpEHarmXB2qL-CFobhS2pwRTQueYIFcXqLaqEZarIhk6cG4HUt2f-5UJlwC0e5n5B4LSWScksqIIvscPmXjon3AfhbSPuy2zQztj8eLyS5MnncM7mQV7FlLYzHNAf5KBQahb8m_vmyEk2Rlesd-MJ2DG24PQ6PELodhMIlaBZ-PIAX_tmF49QKT9NrzpWf5aSpWa3089Nwx0ToHQw-t6tO7IUKWrkKou1_BwcXt_148tARchad1qmYTBkqJ62WSV8xr_k3cVkgnVj7_3aItnJouAG1V60Ps6rDnX4D8rNwiNr-UgKLNaIhMFE-mXQ",
  };
  expect(await libtrustKeyId(jwk)).toBe("ID73:CDUE:USY5:PM7B:HHXL:6FVK:B4QC:KDDT:IER7:55IL:DH5X:CPXU");
});

test("toy token service: an answer holds only a token, and its claims are GitLab's", async () => {
  const { key, ask, claims } = await start();
  const query = "/jwt/auth?service=pod-a-registry&scope=repository:acme/app:pull&account=demo&offline_token=true";
  const response = await ask(query, "demo");
  expect(response.status).toBe(200);
  const body = (await response.json()) as { token: string };
  expect(Object.keys(body)).toEqual(["token"]);
  expect(decodeProtectedHeader(body.token)).toEqual({ alg: "RS256", typ: "JWT", kid: key.publicJwk.kid });
  const seconds = now.getTime() / 1000;
  expect(await claims("&scope=repository:acme/app:pull", "demo")).toEqual({
    iss: "pod-a-issuer",
    aud: "pod-a-registry",
    sub: "demo",
    auth_type: "gitlab_or_ldap",
    access: [{ type: "repository", name: "acme/app", actions: ["pull"] }],
    jti: expect.any(String),
    iat: seconds,
    nbf: seconds - 5,
    exp: seconds + 300,
  });
});

describe("toy token service: grants", () => {
  const entry = (name: string, ...actions: string[]) => ({ type: "repository", name, actions });
  test.each<[string, string | null, readonly unknown[]]>([
    ["&scope=repository:acme/app:pull,push,delete,*", "demo", [entry("acme/app", "pull", "push", "delete", "*")]],
    ["&scope=repository:other/app:pull,push", "demo", [entry("other/app", "pull", "push")]],
    ["&scope=registry:catalog:*", "demo", [{ type: "registry", name: "catalog", actions: ["*"] }]],
    ["&scope=registry:catalog:*", "reader", []],
    ["&scope=registry:statistics:*", "demo", []],
    ["&scope=repository:acme/app:pull,push", "reader", [entry("acme/app", "pull")]],
    ["&scope=repository:acme/app:push", "reader", []],
    [
      "&scope=repository:a/b:pull&scope=repository:c/d:push,pull",
      "demo",
      [entry("a/b", "pull"), entry("c/d", "push", "pull")],
    ],
    ["&scope=repository:a/b:pull+repository:c/d:pull", "demo", [entry("a/b", "pull"), entry("c/d", "pull")]],
    [
      "&scope=repository:a/b:pull%20repository:c/d:pull&scope=repository:e/f:pull",
      "reader",
      [entry("a/b", "pull"), entry("c/d", "pull"), entry("e/f", "pull")],
    ],
    ["&scope=repository:Acme/App:pull", "demo", [entry("acme/app", "pull")]],
    ["&scope=repository:host:5000/app:pull", "demo", []],
    ["&scope=repository(plugin):a/b:pull", "demo", []],
    ["&scope=repository:a/b", "demo", []],
    ["&scope=repository:a/b:fly", "demo", []],
    ["&scope=", "demo", []],
    ["", "reader", []],
    ["&scope=repository:acme/hello:pull", null, [entry("acme/hello", "pull")]],
    ["&scope=repository:acme/public/deep/app:pull,push", null, [entry("acme/public/deep/app", "pull")]],
    ["&scope=repository:acme/hello:pull&scope=repository:acme/app:pull", null, [entry("acme/hello", "pull")]],
  ])("%s asked by %s gets exactly its rights", async (query, user, access) => {
    const { claims } = await start();
    expect((await claims(query, user))["access"]).toEqual(access);
  });
});

test("toy token service: an anonymous token has no sub", async () => {
  const { claims } = await start();
  const payload = await claims("&scope=repository:acme/hello:pull", null);
  expect(payload.sub).toBeUndefined();
  expect(payload["auth_type"]).toBe("none");
});

describe("toy token service: refusals", () => {
  const refused = async (path: string, user: string | null, init?: RequestInit) => {
    const { ask } = await start();
    const response = await ask(path, user, init);
    return {
      status: response.status,
      body: await response.text(),
      challenge: response.headers.get("www-authenticate"),
    };
  };

  test.each([
    "",
    "&scope=repository:acme/app:pull",
    "&scope=repository:acme/public:pull",
    "&scope=repository:acmecorp/hello:pull",
    "&scope=repository:acme/hello:push",
  ])("an anonymous client that is granted nothing gets 403 (%s)", async (query) => {
    const { status, body } = await refused(`/jwt/auth?service=pod-a-registry${query}`, null);
    expect(status).toBe(403);
    expect(JSON.parse(body)).toEqual({
      errors: [{ code: "DENIED", message: "access forbidden" }],
      http_status: 403,
    });
  });

  test.each(["/jwt/auth?service=pod-a-registry", "/jwt/auth?service=another"])(
    "wrong credentials get 401 without a challenge, whatever the service is (%s)",
    async (path) => {
      const { status, body, challenge } = await refused(path, "stranger");
      expect(status).toBe(401);
      expect(challenge).toBeNull();
      expect(JSON.parse(body)).toMatchObject({ errors: [{ code: "UNAUTHORIZED" }] });
    },
  );

  test.each<[string, string | null, RequestInit]>([
    ["/jwt/auth?service=another", "demo", {}],
    ["/jwt/auth", "demo", {}],
    ["/jwt/auth?service=pod-a-registry", "demo", { method: "POST", body: "grant_type=password" }],
    ["/jwt", "demo", {}],
    ["/jwt/auth/?service=pod-a-registry", null, {}],
  ])("%s gets 404 with an empty body", async (path, user, init) => {
    expect(await refused(path, user, init)).toEqual({ status: 404, body: "", challenge: null });
  });

  test("a password is wrong if it is another user's", async () => {
    const { ask } = await start();
    const url = (await ask("/jwt/auth?service=pod-a-registry", "demo")).url;
    for (const header of [basic("demo", "reader"), basic("constructor", ""), "Basic %%%"]) {
      expect((await fetch(url, { headers: { Authorization: header } })).status).toBe(401);
    }
  });
});

test("toy token service: an answer to HEAD has the length and no body", async () => {
  const { ask } = await start();
  const response = await ask("/jwt/auth?service=pod-a-registry", "demo", { method: "HEAD" });
  expect(response.status).toBe(200);
  expect(Number(response.headers.get("content-length"))).toBeGreaterThan(500);
  expect(await response.text()).toBe("");
});
