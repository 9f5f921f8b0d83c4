import { type JWTPayload, SignJWT } from "jose";
import { describe, expect, test } from "vitest";
import { generateSigningKey } from "../../../src/local/toy/token-service.ts";
import { errorCode, pushBlob, startToyPod, type ToyPod } from "../../support/toy-pod.ts";

const name = "acme/app";
const realmOf = (pod: ToyPod) => `Bearer realm="${pod.realm}",service="pod-a-registry"`;

describe("toy registry: a request without a token", () => {
  test.each([
    ["GET", "/v2/", ""],
    ["GET", `/v2/${name}/tags/list`, `,scope="repository:${name}:pull"`],
    ["POST", `/v2/${name}/blobs/uploads/`, `,scope="repository:${name}:pull,push"`],
    ["DELETE", `/v2/${name}/manifests/1`, `,scope="repository:${name}:delete"`],
    ["GET", "/v2/_catalog", `,scope="registry:catalog:*"`],
    [
      "POST",
      `/v2/${name}/blobs/uploads/?mount=x&from=acme/base`,
      `,scope="repository:${name}:pull,push repository:acme/base:pull"`,
    ],
    ["GET", "/v2/a/manifests/b/manifests/latest", `,scope="repository:a/manifests/b:pull"`],
    ["OPTIONS", `/v2/${name}/tags/list`, ""],
    // A line end in `from` would end the header's line. So the toy registry writes a space instead, as Go does.
    ["GET", `/v2/${name}/tags/list?from=a%0Ab`, `,scope="repository:${name}:pull repository:a b:pull"`],
  ])("is challenged for what it needs: %s %s", async (method, path, scope) => {
    const pod = await startToyPod();
    const response = await fetch(`${pod.registry}${path}`, { method });
    expect(response.status).toBe(401);
    expect(response.headers.get("www-authenticate")).toBe(`${realmOf(pod)}${scope}`);
    expect(response.headers.get("docker-distribution-api-version")).toBe("registry/2.0");
  });

  test("is told every action that it needs, in the body", async () => {
    const pod = await startToyPod();
    const response = await fetch(`${pod.registry}/v2/${name}/blobs/uploads/`, { method: "POST" });
    const detail = ["pull", "push"].map((Action) => ({ Type: "repository", Class: "", Name: name, Action }));
    expect(await response.json()).toEqual({
      errors: [{ code: "UNAUTHORIZED", message: "authentication required", detail }],
    });
  });
});

describe("toy registry: a request with a token", () => {
  const ask = (pod: ToyPod, token: string, init: RequestInit = {}, path = `/v2/${name}/tags/list`) =>
    fetch(`${pod.registry}${path}`, { ...init, headers: { Authorization: `Bearer ${token}` } });

  test("gets /v2/ if its token is valid", async () => {
    const pod = await startToyPod();
    const response = await ask(pod, await pod.token(""), {}, "/v2/");
    expect([response.status, await response.text()]).toEqual([200, "{}"]);
  });

  test.each([
    ["GET", "pull"],
    ["PUT", "push"],
    ["PUT", "pull"],
    ["DELETE", "pull,push"],
  ])(
    "is refused as insufficient_scope: %s with a right on another repository, or with only %s on its own",
    async (method, actions) => {
      const pod = await startToyPod();
      const other = await ask(pod, await pod.token(`repository:acme/other:*`), { method }, `/v2/${name}/manifests/1`);
      expect(other.headers.get("www-authenticate")).toMatch(/,error="insufficient_scope"$/);
      if (method === "GET") return;
      const own = await ask(
        pod,
        await pod.token(`repository:${name}:${actions}`),
        { method },
        `/v2/${name}/manifests/1`,
      );
      expect([own.status, own.headers.get("www-authenticate")]).toEqual([
        401,
        expect.stringMatching(/,error="insufficient_scope"$/),
      ]);
    },
  );

  test("may do everything if its token has *", async () => {
    const pod = await startToyPod();
    const token = await pod.token(`repository:${name}:*`);
    expect((await ask(pod, token, { method: "DELETE" }, `/v2/${name}/manifests/1`)).status).toBe(404);
    expect((await ask(pod, token, { method: "POST" }, `/v2/${name}/blobs/uploads/`)).status).toBe(202);
  });

  test("may not mount without pull on the source", async () => {
    const pod = await startToyPod();
    const digest = await pushBlob(pod, "acme/base", "layer");
    const path = `/v2/${name}/blobs/uploads/?mount=${digest}&from=acme/base`;
    const withoutSource = await ask(pod, await pod.token(`repository:${name}:pull,push`), { method: "POST" }, path);
    expect(withoutSource.status).toBe(401);
    const both = await pod.token(`repository:${name}:pull,push repository:acme/base:pull`);
    expect((await ask(pod, both, { method: "POST" }, path)).status).toBe(201);
  });

  const seconds = () => Math.floor(Date.now() / 1000);
  const claims = (changes: JWTPayload = {}): JWTPayload => ({
    iss: "pod-a-issuer",
    aud: "pod-a-registry",
    exp: seconds() + 60,
    nbf: seconds() - 5,
    access: [{ type: "repository", name, actions: ["pull"] }],
    ...changes,
  });

  const without = (claim: string): JWTPayload =>
    Object.fromEntries(Object.entries(claims()).filter(([key]) => key !== claim));

  test.each<[string, () => JWTPayload, number]>([
    ["all as they should be", () => claims(), 404],
    ["another issuer", () => claims({ iss: "pod-b-issuer" }), 401],
    ["another audience", () => claims({ aud: "pod-b-registry" }), 401],
    ["an audience among others", () => claims({ aud: ["x", "pod-a-registry"] }), 404],
    ["expired within the leeway", () => claims({ exp: seconds() - 30 }), 404],
    ["expired beyond the leeway", () => claims({ exp: seconds() - 90 }), 401],
    ["not yet valid, within the leeway", () => claims({ nbf: seconds() + 30 }), 404],
    ["not yet valid, beyond the leeway", () => claims({ nbf: seconds() + 90 }), 401],
    ["without exp", () => without("exp"), 401],
    ["without nbf", () => without("nbf"), 404],
    ["a strange access", () => claims({ access: [null, "x", { type: "repository", name, actions: "pull" }] }), 401],
    ["no access", () => without("access"), 401],
  ])("is judged by the token's claims: %s", async (_case, payload, status) => {
    const pod = await startToyPod();
    const { key } = pod;
    const token = new SignJWT(payload()).setProtectedHeader({ alg: "RS256", kid: key.publicJwk.kid ?? "" });
    expect((await ask(pod, await token.sign(key.privateKey))).status).toBe(status);
  });

  test("is refused if the token's key is not the Pod's, whatever the header says", async () => {
    const pod = await startToyPod();
    const other = await generateSigningKey();
    const kid = pod.key.publicJwk.kid ?? "";
    const headers = [
      { alg: "RS256", kid },
      { alg: "RS256", kid: other.publicJwk.kid ?? "" },
      { alg: "RS256", kid, jwk: other.publicJwk },
    ];
    for (const header of headers) {
      const token = await new SignJWT(claims()).setProtectedHeader(header).sign(other.privateKey);
      const response = await ask(pod, token);
      expect(response.headers.get("www-authenticate")).toMatch(/,error="invalid_token"$/);
    }
    // This token is signed by the Pod's key, but has no kid.
    const token = await new SignJWT(claims()).setProtectedHeader({ alg: "RS256" }).sign(pod.key.privateKey);
    expect((await ask(pod, token)).status).toBe(401);
  });

  test("is refused if the token uses HS256 with the public key as its secret, or no algorithm", async () => {
    const pod = await startToyPod();
    const kid = pod.key.publicJwk.kid ?? "";
    const secret = new TextEncoder().encode(JSON.stringify(pod.key.publicJwk));
    const hmac = await new SignJWT(claims()).setProtectedHeader({ alg: "HS256", kid }).sign(secret);
    const text = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
    for (const token of [hmac, `${text({ alg: "none", kid })}.${text(claims())}.`, "abc", "a.b.c"]) {
      const response = await ask(pod, token);
      expect(response.headers.get("www-authenticate")).toMatch(/,error="invalid_token"$/);
      expect(await errorCode(response)).toBe("UNAUTHORIZED");
    }
  });

  test("counts as a request without a token if the scheme is not Bearer", async () => {
    const pod = await startToyPod();
    const response = await fetch(`${pod.registry}/v2/`, { headers: { Authorization: "Basic ZGVtbzpkZW1v" } });
    expect(response.headers.get("www-authenticate")).toBe(realmOf(pod));
  });
});
