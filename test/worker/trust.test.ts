import { exportJWK, generateKeyPair } from "jose";
import { describe, expect, test } from "vitest";
import type { Pod } from "../../src/directory/directory.ts";
import { seal } from "../../src/directory/seal.ts";
import { trustedRequest, trustHeaders } from "../../src/pods/trust.ts";
import { createClient } from "../support/client.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { useStack } from "../support/toy-stack.ts";

const pod = await startOddPod();
const tokenService = await startOddPod();
const { publicKey, privateKey } = await generateKeyPair("ECDH-ES", { crv: "P-256", extractable: true });
const publicJwk = await exportJWK(publicKey);
const secret = "only the edge knows this";
const sealed = (field: string, scheme: string, target = pod.url) =>
  seal(secret, { pod: "pod-b", field, scheme, target }, publicJwk);
const env = { SEALING_KEYS: JSON.stringify([await exportJWK(privateKey)]) };
const withTrust = (trust: object) => (topology: string) =>
  asPodB(pod)(topology).replace("  pod-b:\n", `  pod-b:\n    trust: ${JSON.stringify(trust)}\n`);

async function ask(edge: string, headers: Record<string, string> = {}) {
  pod.answer((response) => void response.writeHead(200).end("{}"));
  const client = createClient(edge);
  const token = await client.token(["repository:globex/app:pull"]);
  return client.get("/v2/globex/app/manifests/1", token, { headers });
}

describe("trust by a header", async () => {
  const trust = { kind: "header", name: "X-Edge-Secret", value: await sealed("trust.value", "header") };
  const stack = useStack({ env, seedImages: false, topology: withTrust(trust) });

  test("the Pod gets the edge's secret in place of a client's header, and nothing else shows it", async () => {
    const answer = await ask(stack.current.edge, { "X-Edge-Secret": "guessed" });
    expect(answer.status).toBe(200);
    expect(pod.seen.map(({ headers }) => headers["x-edge-secret"])).toEqual([secret]);
    await stack.current.edgeSettled();
    expect(JSON.stringify([[...answer.headers], await answer.text(), stack.current.edgeSeen()])).not.toContain(secret);
  });
});

describe("trust by a header: a token service", async () => {
  const trust = { kind: "header", name: "X-Edge-Secret", value: await sealed("trust.value", "header") };
  const elsewhere = useStack({
    env,
    seedImages: false,
    topology: (text) => withTrust(trust)(asPodB(tokenService, "TOKEN")(text)),
  });
  const sameOrigin = useStack({
    env,
    seedImages: false,
    topology: (text) => withTrust(trust)(asPodB(pod, "TOKEN")(text)),
  });
  async function secretsAt(service: typeof pod, edge: string) {
    service.answer((response) => void response.writeHead(401).end("{}"));
    await fetch(`${edge}/jwt/auth?service=registry-edge&scope=repository:globex/app:pull`);
    return service.seen.map(({ path, headers }) => [path.slice(0, 9), headers["x-edge-secret"]]);
  }

  test("on another origin does not get the secret, because it could then call the registry of several Pods by itself", async () => {
    expect(await secretsAt(tokenService, elsewhere.current.edge)).toEqual([["/jwt/auth", undefined]]);
    expect(pod.seen).toEqual([]);
  });

  test("on the registry's own origin gets it", async () => {
    expect(await secretsAt(pod, sameOrigin.current.edge)).toEqual([["/jwt/auth", secret]]);
  });
});

describe("trust by an Access service token", async () => {
  const clientSecret = await sealed("trust.clientSecret", "access");
  const stack = useStack({
    env,
    seedImages: false,
    topology: withTrust({ kind: "access", clientId: "edge.access", clientSecret }),
  });

  test("the Pod gets it in the two headers that Access reads", async () => {
    expect((await ask(stack.current.edge)).status).toBe(200);
    expect(pod.seen[0]?.headers).toMatchObject({
      "cf-access-client-id": "edge.access",
      "cf-access-client-secret": secret,
    });
  });
});

describe("trust secret that was sealed for another place", async () => {
  const value = await sealed("trust.value", "header", "https://elsewhere.test");
  const stack = useStack({ env, seedImages: false, topology: withTrust({ kind: "header", name: "X-Edge", value }) });

  test("it is not opened, the answer is 500, and the registry is not called", async () => {
    const answer = await ask(stack.current.edge);
    expect(answer.status).toBe(500);
    expect(await answer.json()).toMatchObject({ errors: [{ code: "UNKNOWN" }] });
    expect(pod.seen).toEqual([]);
  });
});

describe.each(["\n", "\r", "\0"])("trust secret with the character %j, which no header can have", async (character) => {
  const place = { pod: "pod-b", field: "trust.value", scheme: "header", target: pod.url };
  const value = await seal(`hush${character}hush`, place, publicJwk);
  const stack = useStack({ env, seedImages: false, topology: withTrust({ kind: "header", name: "X-Edge", value }) });

  test("the Pod is not called, and in a request to several Pods it counts as down", async () => {
    const client = createClient(stack.current.edge);
    const token = await client.token(["registry:catalog:*", "repository:globex/app:pull"]);
    const catalog = await client.get("/v2/_catalog", token);
    expect([catalog.status, await catalog.json()]).toMatchObject([
      503,
      { errors: [{ message: "1 of 2 registries gave no catalog; try again" }] },
    ]);
    expect((await client.get("/v2/globex/app/manifests/1", token)).status).toBe(500);
    await stack.current.edgeSettled();
    expect(stack.current.edgeSeen().at(-1)).toMatchObject({
      cause:
        'sealed value of Pod "pod-b", field "trust.value", cannot be sent as a header; want one line of 1 to 4096 ASCII characters',
    });
    expect(pod.seen).toEqual([]);
  });
});

test.each([
  ["a line break", "hush\nhush"],
  ["a character outside ASCII", "hush€"],
  ["60,000 characters", "hush".repeat(15_000)],
  ["no character", " "],
])("trust secret with %s is an error that does not show it", async (_what, text) => {
  const podB = { id: "pod-b", registry: pod.url, trust: { kind: "header", name: "X-Edge", value: "sealed" } } as Pod;
  const marks = await trustHeaders(podB, async () => ({ ok: true, value: text }));
  const error = { reason: "misconfigured", text: expect.stringContaining("cannot be sent") as string };
  expect(marks).toEqual({ ok: false, error });
  expect(JSON.stringify(marks)).not.toContain("hush");
});

describe("trust by a binding", () => {
  const podB = { id: "pod-b", registry: pod.url, trust: { kind: "binding", binding: "POD_B" } } as Pod;
  const request = {
    url: pod.url,
    method: "GET",
    headers: new Headers(),
    body: null,
    bodyBytes: 0,
    deadlineMs: 1_000,
  };
  const openSecret = () => Promise.reject(new Error("nothing is sealed here"));

  test("a binding of the deployment makes the call", async () => {
    const fetcher = { fetch };
    const trusted = await trustedRequest(podB, request, { openSecret, findBinding: () => fetcher });
    expect(trusted).toEqual({ ok: true, value: { request, fetcher } });
  });

  test("a binding that the deployment lacks is named in the error", async () => {
    const trusted = await trustedRequest(podB, request, { openSecret, findBinding: () => null });
    expect(trusted).toMatchObject({ ok: false, error: { reason: "misconfigured" } });
    expect(JSON.stringify(trusted)).toContain("POD_B");
  });
});
