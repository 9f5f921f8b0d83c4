import { type JWTPayload, SignJWT, UnsecuredJWT } from "jose";
import { expect, test } from "vitest";
import { generateSigningKey } from "../../src/local/toy/token-service.ts";
import { Clocks } from "../../src/podctl/doctor/check-clock.ts";
import { checkToken, fetchToken } from "../../src/podctl/doctor/check-token.ts";
import { Checks } from "../../src/podctl/doctor/findings.ts";
import type { PodUnderTest } from "../../src/podctl/doctor/pod-under-test.ts";
import { startOddPod } from "../support/odd-pod.ts";

const edge = await startOddPod();
const wanted = { type: "repository", name: "acme/app", actions: ["pull"] };

test("doctor takes a grant of the edge's own for what it is: a token service that does not answer", async () => {
  const token = "pods.v1.pod-a/edge.eyJh..aXY.dGV4dA.dGFn~pod-b/eyJh.eyJi.c2ln";
  edge.answer((response) => void response.writeHead(200).end(JSON.stringify({ token })));
  const pod = { id: "pod-a", token: "https://pod-a.test/jwt/auth" };
  const deployment = { edge: edge.url, edgeHosts: [], realm: null };
  const underTest = { pod, clocks: new Clocks(0), user: null, way: "through the edge", deployment };
  const question = { service: "registry-edge", wanted };
  expect(await fetchToken(underTest as unknown as PodUnderTest, question)).toMatchObject({
    ok: false,
    error: { finding: "token-unreachable", text: expect.stringContaining("does not answer") },
  });
});

test.each(["", null, undefined])(
  "doctor takes the token from access_token if the answer has %j as token, as the edge does",
  async (token) => {
    const jwt = `${new UnsecuredJWT({ access: [wanted] }).encode()}c2ln`;
    edge.answer((response) => void response.writeHead(200).end(JSON.stringify({ token, access_token: jwt })));
    const pod = { id: "pod-a", token: `${edge.url}/jwt/auth` };
    const deployment = { edgeHosts: [], realm: null };
    const underTest = { pod, clocks: new Clocks(0), user: null, way: "direct", deployment };
    const fetched = await fetchToken(underTest as unknown as PodUnderTest, { service: "registry", wanted });
    expect(fetched).toEqual({ ok: true, value: { sent: jwt, jwt } });
  },
);

async function checked(claims: Readonly<Record<string, unknown>>) {
  const { privateKey, publicJwk } = await generateSigningKey();
  const header = { alg: "RS256", kid: publicJwk.kid ?? "" };
  const jwt = await new SignJWT({ iss: "issuer", ...claims } as JWTPayload).setProtectedHeader(header).sign(privateKey);
  const checks = new Checks("pod-a");
  const pod = { id: "pod-a", keys: [publicJwk], issuer: "issuer", audience: "registry" };
  await checkToken({ pod, checks, deployment: { edgeAheadSeconds: 0 } } as unknown as PodUnderTest, jwt, false);
  return checks.list.at(-1);
}

test.each([
  [5, "5"],
  [[5, "Registry"], "5, Registry"],
  [{ name: "registry" }, '{"name":"registry"}'],
  [undefined, "none"],
  [null, "none"],
])("doctor reports a token whose audience is %j, and goes on", async (aud, said) => {
  const text = `tokens say "${said}", the record "registry"`;
  expect(await checked({ aud })).toMatchObject({ check: "audience", finding: "audience-wrong", text });
});

const inOneHour = Math.floor(Date.now() / 1_000) + 3_600;
const audiences = (count: number) =>
  Array.from({ length: count }, (_, index) => (index === 0 ? "registry" : `${index}`));

test.each([
  ["eleven audiences", { exp: inOneHour, aud: audiences(11) }, { exp: inOneHour, nbf: null, audiences: 11 }],
  ["no `exp`", { aud: "registry" }, { exp: null, nbf: null, audiences: 1 }],
  [
    "an `nbf` in the future",
    { aud: "registry", exp: inOneHour, nbf: inOneHour },
    { exp: inOneHour, nbf: inOneHour, audiences: 1 },
  ],
])("doctor reports a token with %s, because the edge refuses it", async (_, claims, said) => {
  const text = expect.stringContaining(`the edge refuses a token with ${JSON.stringify(said)}`);
  expect(await checked(claims)).toMatchObject({ check: "token claims", finding: "token-claims", text });
});

test("doctor accepts a token with ten audiences, as the edge does", async () => {
  expect(await checked({ exp: inOneHour, aud: audiences(10) })).toMatchObject({ check: "audience", status: "ok" });
});
