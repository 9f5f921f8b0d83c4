import { describe, expect, test } from "vitest";
import { createClient } from "../support/client.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { rawClient } from "../support/raw-sockets.ts";
import { useStack } from "../support/toy-stack.ts";

const pod = await startOddPod();
const tokenService = await startOddPod();
const stack = useStack({
  topology: (text) => asPodB(tokenService, "TOKEN")(asPodB(pod)(text)),
  seedImages: false,
  // A Pod gives no token here, so the edge asks for none.
  env: { AUTH: "none" },
});
const path = "/v2/globex/app/manifests/1";

/** A client that has sent the head of a request and, if there is one, a part of its body. */
async function begin(requestLine: string, headers: readonly string[] = [], part = "") {
  const { edge } = stack.current;
  const client = await rawClient(edge);
  client.send(`${[`${requestLine} HTTP/1.1`, `Host: ${new URL(edge).host}`, ...headers].join("\r\n")}\r\n\r\n${part}`);
  return client;
}

/** Resolves with the way in which the Pod's connection of the next request has ended. */
function hang(service: typeof pod, part: string | null = null): { seen: Promise<void>; closed: Promise<void> } {
  const [seen, closed] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  service.answer((response) => {
    response.on("close", closed.resolve);
    if (part !== null) response.writeHead(200, { "Content-Length": "100" }).write(part);
    seen.resolve();
  });
  return { seen: seen.promise, closed: closed.promise };
}

async function loggedOutcomes() {
  await stack.current.edgeSettled();
  return stack.current.edgeSeen().map(({ outcome, status, endpoint }) => [outcome, status, endpoint]);
}

describe("client that resets its connection", () => {
  test.each([
    ["a manifest", `GET ${path}`, pod, "manifest"],
    ["a blob", `GET /v2/globex/app/blobs/sha256:${"d".repeat(64)}`, pod, "blob"],
    ["a token", "GET /jwt/auth?service=registry-edge&scope=repository:globex/app:pull", tokenService, "token"],
  ] as const)(
    "while the Pod is asked for %s: the Pod's connection is closed, and the log says so once",
    async (_, line, service, endpoint) => {
      stack.current.clearSeen();
      const { seen, closed } = hang(service);
      const client = await begin(line);
      await seen;
      const leftAtMs = performance.now();
      client.socket.resetAndDestroy();
      await closed;
      expect(performance.now() - leftAtMs).toBeLessThan(2_000);
      expect(await loggedOutcomes()).toEqual([["client-left", 499, endpoint]]);
    },
  );

  test("in the middle of an answer: the Pod's connection is closed, and the log says so once", async () => {
    stack.current.clearSeen();
    const { closed } = hang(pod, "half");
    const client = await begin(`GET ${path}`);
    await expect.poll(() => client.received()).toContain("half");
    client.socket.resetAndDestroy();
    await closed;
    expect(await loggedOutcomes()).toEqual([["client-left", 200, "manifest"]]);
  });

  test.each([
    ["by a reset", true],
    ["by an end", false],
  ])("in the middle of an upload, %s: the log says that the client left", async (_, isReset) => {
    stack.current.clearSeen();
    const client = await begin("PATCH /v2/globex/app/blobs/uploads/u-1", ["Content-Length: 100"], "half");
    await new Promise((resolve) => setTimeout(resolve, 300));
    if (isReset) client.socket.resetAndDestroy();
    else client.socket.destroy();
    await expect.poll(async () => (await loggedOutcomes()).map(([outcome]) => outcome)).toEqual(["client-left"]);
  });
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
      // A Pod that breaks three reads in a row is not called again.
      if (count % 2 === 1) answered += (await client.get("/v2/globex/app/tags/list")).status === 404 ? 1 : 0;
    }
    expect(new Set(statuses)).toEqual(new Set([503]));
    expect(answered).toBe(100);
    // Ten are a reserve, so that a Pod that is seldom called gets retries too.
    expect(pod.seen.length).toBeGreaterThan(200 + answered);
    expect(pod.seen.length).toBeLessThanOrEqual((200 + answered) * 1.1 + 10);
    await stack.current.edgeSettled();
    const logged = stack.current.edgeSeen().map(({ podRequests }) => podRequests);
    expect(logged[0]).toBe(2);
    expect(logged.reduce((sum, each) => sum + each, 0)).toBe(pod.seen.length);
  });
});
