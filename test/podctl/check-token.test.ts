import { type JWTPayload, SignJWT } from "jose";
import { expect, test } from "vitest";
import { generateSigningKey } from "../../src/local/toy/token-service.ts";
import { checkToken, fetchToken } from "../../src/podctl/doctor/check-token.ts";
import { Checks } from "../../src/podctl/doctor/findings.ts";
import type { PodUnderTest } from "../../src/podctl/doctor/pod-under-test.ts";
import { startOddPod } from "../support/odd-pod.ts";

const edge = await startOddPod();

test("doctor takes a grant of the edge's own for what it is: a token service that does not answer", async () => {
  const token = "pods.v1.pod-a/edge.eyJh..aXY.dGV4dA.dGFn~pod-b/eyJh.eyJi.c2ln";
  edge.answer((response) => void response.writeHead(200).end(JSON.stringify({ token })));
  const underTest = { pod: { id: "pod-a" }, user: null, way: "through the edge", deployment: { edge: edge.url } };
  const wanted = { type: "repository", name: "acme/app", actions: ["pull"] };
  const question = { service: "registry-edge", wanted, seeClock: () => undefined };
  expect(await fetchToken(underTest as unknown as PodUnderTest, question)).toMatchObject({
    ok: false,
    error: { finding: "token-unreachable", text: expect.stringContaining("does not answer") },
  });
});

test.each([
  [5, "5"],
  [[5, "registry"], "5, registry"],
  [{ name: "registry" }, '{"name":"registry"}'],
  [undefined, "none"],
  [null, "none"],
])("doctor reports a token whose audience is %j, and goes on", async (aud, said) => {
  const { privateKey, publicJwk } = await generateSigningKey();
  const claims = { iss: "issuer", ...(aud === undefined ? {} : { aud }) } as JWTPayload;
  const header = { alg: "RS256", kid: publicJwk.kid ?? "" };
  const jwt = await new SignJWT(claims).setProtectedHeader(header).sign(privateKey);
  const checks = new Checks("pod-a");
  const pod = { id: "pod-a", keys: [publicJwk], issuer: "issuer", audience: "none" };
  await checkToken({ pod, checks } as unknown as PodUnderTest, jwt, false);
  const text = `tokens say "${said}", the record "none"`;
  expect(checks.list.at(-1)).toMatchObject({ check: "audience", finding: "audience-wrong", text });
});
