import type { Socket } from "node:net";
import { afterAll, describe, expect, test } from "vitest";
import { createClient } from "../support/client.ts";
import { expectLeavingClientsHarmless } from "../support/leaving-clients.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { rawClient, rawService } from "../support/raw-sockets.ts";
import { useStack } from "../support/toy-stack.ts";

const pod = await startOddPod();
const tokenService = await startOddPod();
const stack = useStack({
  topology: (text) => asPodB(tokenService, "TOKEN")(asPodB(pod)(text)),
  seedImages: false,
  // Clients need no tokens, because `tokenService` never gives any.
  env: { AUTH: "none" },
});
/** This registry answers only when 20 requests have come, and then all at once. So each request needs its own connection. */
const waiting: Socket[] = [];
const keepAlive = await rawService((_, socket) => {
  const isLast = waiting.push(socket) === 20;
  if (isLast) for (const each of waiting.splice(0)) each.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
  return null;
});
afterAll(() => keepAlive.stop());
const keepAlivePod = { ...pod, url: `http://127.0.0.1:${keepAlive.port}` };
const pooled = useStack({ topology: asPodB(keepAlivePod), seedImages: false, env: { AUTH: "none" } });
const path = "/v2/globex/app/manifests/1";
const digest = `sha256:${"d".repeat(64)}`;
const blob = `/v2/globex/app/blobs/${digest}`;
const formType = "Content-Type: application/x-www-form-urlencoded";
const form: string =
  "grant_type=password&username=demo&password=demo&service=registry-edge&scope=repository%3Aglobex%2Fapp%3Apull";
const imageManifest = "application/vnd.oci.image.manifest.v1+json";

const begin = (requestLine: string, headers: readonly string[] = [], part = "") =>
  beginAt(stack.current.edge, requestLine, `${headers.map((line) => `${line}\r\n`).join("")}\r\n${part}`);

async function beginAt(edge: string, requestLine: string, rest = "\r\n") {
  const client = await rawClient(edge);
  client.send(`${requestLine} HTTP/1.1\r\nHost: ${new URL(edge).host}\r\n${rest}`);
  return client;
}

/**
 * The service sends only `part` of an answer, or nothing if `part` is null. `seen` resolves when the request has come, and `closed` when its
 * connection has closed.
 */
function hang(service: typeof pod, part: string | null = null, head = { status: 200, headers: {} }) {
  const [seen, closed] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  service.answer((response, { method }) => {
    if (part !== null && method === "HEAD") return void response.writeHead(404).end();
    response.on("close", closed.resolve);
    if (part !== null) response.writeHead(head.status, { "Content-Length": "100", ...head.headers }).write(part);
    seen.resolve();
  });
  return { seen: seen.promise, closed: closed.promise };
}

async function loggedOutcomes() {
  await stack.current.edgeSettled();
  return stack.current.edgeSeen().map(({ outcome, status, endpoint }) => [outcome, status, endpoint]);
}

describe("client that leaves", () => {
  test.each([
    ["a manifest", `GET ${path}`, pod, "manifest"],
    ["a blob", `GET ${blob}`, pod, "blob"],
    ["a token", "GET /jwt/auth?service=registry-edge&scope=repository:globex/app:pull", tokenService, "token"],
    ["a token by a form", "POST /jwt/auth", tokenService, "token", form],
  ] as const)(
    "if it leaves while the Pod is asked for %s, the Pod's connection is closed, and the log says so once",
    async (_, line, service, endpoint, body = "") => {
      stack.current.clearSeen();
      const { seen, closed } = hang(service);
      const length = body === "" ? [] : [formType, `Content-Length: ${body.length}`];
      const client = await begin(line, length, body);
      await seen;
      const leftAtMs = performance.now();
      client.socket.resetAndDestroy();
      await closed;
      expect(performance.now() - leftAtMs).toBeLessThan(2_000);
      expect(await loggedOutcomes()).toEqual([["client-left", 499, endpoint]]);
    },
  );

  test.each([
    ["an answer", {}],
    ["a manifest that may prove blobs", { "Content-Type": imageManifest, "Docker-Content-Digest": digest }],
  ])(
    "if it leaves in the middle of %s, the Pod's connection is closed, and the log says so once",
    async (_, headers) => {
      stack.current.clearSeen();
      const { closed } = hang(pod, "half", { status: 200, headers });
      const client = await begin(`GET ${path}`);
      await expect.poll(() => client.received()).toContain("half");
      const leftAtMs = performance.now();
      client.socket.resetAndDestroy();
      await closed;
      expect(performance.now() - leftAtMs).toBeLessThan(2_000);
      expect(await loggedOutcomes()).toEqual([["client-left", 200, "manifest"]]);
    },
  );

  test.each([
    ["by a reset", true],
    ["by an end", false],
  ])("if it leaves in the middle of an upload %s, the log says that the client left", async (_, isReset) => {
    stack.current.clearSeen();
    const client = await begin("PATCH /v2/globex/app/blobs/uploads/u-1", ["Content-Length: 100"], "half");
    await new Promise((resolve) => setTimeout(resolve, 300));
    if (isReset) client.socket.resetAndDestroy();
    else client.socket.destroy();
    await expect.poll(async () => (await loggedOutcomes()).map(([outcome]) => outcome)).toEqual(["client-left"]);
  });
});

describe("Pod's answer whose body the edge does not pass on", () => {
  const query = "/jwt/auth?service=registry-edge&scope=repository:globex/app:pull";
  const elsewhere = { Location: "https://elsewhere.example/" };
  test.each([
    ["a redirect of a blob to a host that is not the Pod's", pod, blob, 307, elsewhere, 502],
    ["a manifest's redirect to another repository", pod, path, 307, { Location: "/v2/acme/app/manifests/1" }, 502],
    ["a status that no client could read", pod, path, 999, {}, 502],
    ["a catalog that failed", pod, "/v2/_catalog", 500, {}, 503],
    ["a redirect of the token service", tokenService, query, 302, elsewhere, 502],
    ["a refusal to a stranger, who gets the edge's own", tokenService, query, 403, {}, 403],
    ["a refused part of a token", tokenService, `${query}&scope=repository:acme/hello:pull`, 403, {}, 200],
  ] as const)("%s: its connection is closed at once", async (_, service, target, status, headers, expected) => {
    const { closed } = hang(service, "half", { status, headers });
    const answer = await createClient(stack.current.edge).get(target);
    const answeredAtMs = performance.now();
    expect(answer.status).toBe(expected);
    await closed;
    expect(performance.now() - answeredAtMs).toBeLessThan(2_000);
  });
});

test("if clients leave after the Pod has answered, the Pod's connections are kept for the next requests", async () => {
  const leave = async () => {
    const client = await beginAt(pooled.current.edge, `GET ${path}`);
    await expect.poll(() => client.received()).toMatch(/^HTTP\/1\.1 200 /);
    client.socket.resetAndDestroy();
  };
  const twenty = () => Promise.all(Array.from({ length: 20 }, leave));
  await twenty();
  expect(keepAlive.sockets).toHaveLength(20);
  await twenty();
  expect(keepAlive.sockets).toHaveLength(20);
});

test("an answer whose body the Pod breaks off is logged as broken", async () => {
  stack.current.clearSeen();
  pod.answer((response) => {
    response.writeHead(200, { "Content-Length": "100" }).write("half");
    setTimeout(() => response.destroy(), 100);
  });
  const answer = await createClient(stack.current.edge).get(path);
  await expect(answer.text()).rejects.toThrow();
  await stack.current.edgeSettled();
  expect(stack.current.edgeSeen()).toMatchObject([
    { outcome: "broken", status: 200, cause: "the Pod broke off its answer's body", podRequests: 1 },
  ]);
});

describe("Pod that breaks most connections", () => {
  test("the log counts each request to it, and it gets at most a tenth more than clients made", async () => {
    const client = createClient(stack.current.edge);
    pod.answer(
      (response, request) => void (request.path === path ? response.destroy() : response.writeHead(404).end()),
    );
    stack.current.clearSeen();
    const statuses: number[] = [];
    let answered = 0;
    for (let count = 0; count < 200; count += 1) {
      statuses.push((await client.get(path)).status);
      // After three failures in a row, the edge would stop calling the Pod. So after every second failure, we send a read that the Pod answers.
      if (count % 2 === 1) answered += (await client.get("/v2/globex/app/tags/list")).status === 404 ? 1 : 0;
    }
    expect(new Set(statuses)).toEqual(new Set([503]));
    expect(answered).toBe(100);
    // The edge may retry a tenth of the requests, and ten more, so that a Pod with few requests gets retries too.
    expect(pod.seen.length).toBeGreaterThan(200 + answered);
    expect(pod.seen.length).toBeLessThanOrEqual((200 + answered) * 1.1 + 10);
    await stack.current.edgeSettled();
    const logged = stack.current.edgeSeen().map(({ podRequests }) => podRequests);
    expect(logged[0]).toBe(2);
    expect(logged.reduce((sum, each) => sum + each, 0)).toBe(pod.seen.length);
  });
});

describe("clients that leave in the middle of uploads, manifests and redirects", () => {
  const toy = useStack();
  test("60 of them do no harm: others are answered, nothing is left open, and the Pod does not count as down", async () => {
    await expectLeavingClientsHarmless(toy.current, 60);
  }, 40_000);
});
