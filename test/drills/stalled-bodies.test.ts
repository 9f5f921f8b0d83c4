import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, test } from "vitest";
import { createClient, sha256 } from "../support/client.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { rawClient, rawService } from "../support/raw-sockets.ts";
import { useStack } from "../support/toy-stack.ts";

const stallMs = 1_000;
const pod = await startOddPod();
/** `muteService` is a registry that never answers. It reads only while `isReading` is true. */
const mute = { isReading: true };
const muteService = await rawService((_, socket) => {
  if (!mute.isReading) socket.pause();
  return null;
});
afterAll(() => muteService.stop());
const mutePod = { ...pod, url: `http://127.0.0.1:${muteService.port}` };
const env = { STALL_MS: String(stallMs) };
const stack = useStack({ env, topology: asPodB(pod), seedImages: false });
const muteStack = useStack({ env, topology: asPodB(mutePod), seedImages: false });

const digest = `sha256:${"d".repeat(64)}`;
const path = "/v2/globex/app/manifests/1";
const upload = "/v2/globex/app/blobs/uploads/u-1";
const manifestType = "application/vnd.oci.image.manifest.v1+json";
const tokenFor = (edge: string) => createClient(edge).token(["repository:globex/app:pull,push"]);

async function begin(edge: string, requestLine: string, headers: readonly string[] = []) {
  const client = await rawClient(edge);
  const own = [`Host: ${new URL(edge).host}`, `Authorization: Bearer ${await tokenFor(edge)}`];
  client.send(`${[`${requestLine} HTTP/1.1`, ...own, ...headers].join("\r\n")}\r\n\r\n`);
  return client;
}

async function lastLine({ current }: typeof stack) {
  await current.edgeSettled();
  return current.edgeSeen().at(-1);
}

function expectStall(startedAtMs: number): void {
  const ms = performance.now() - startedAtMs;
  expect(ms).toBeGreaterThan(stallMs * 0.9);
  expect(ms).toBeLessThan(stallMs + 3_500);
}

describe("answer's body that stands still", () => {
  test.each([
    ["of announced length", { "Content-Length": "100" }],
    ["in chunks", {}],
    ["with `Content-Encoding: identity`", { "Content-Encoding": "identity" }],
    [
      "that may prove blobs",
      { "Content-Length": "100", "Content-Type": manifestType, "Docker-Content-Digest": digest },
    ],
  ])("if it stops after half a manifest %s, both connections are closed", async (_, headers) => {
    const podClosed = Promise.withResolvers<void>();
    pod.answer((response) => {
      response.on("close", podClosed.resolve);
      response.writeHead(200, headers).write("half");
    });
    const client = await begin(stack.current.edge, `GET ${path}`);
    const startedAtMs = performance.now();
    await expect.poll(() => client.closed(), { timeout: 10_000 }).toBe(true);
    expectStall(startedAtMs);
    await podClosed.promise;
    expectStall(startedAtMs);
    expect(client.received()).toMatch(/^HTTP\/1\.1 200 /);
    // An empty chunk would say that the body is whole.
    expect(client.received()).not.toMatch(/\r\n0\r\n\r\n$/);
    expect(await lastLine(stack)).toMatchObject({
      outcome: "broken",
      status: 200,
      cause: `the Pod sent nothing of its answer's body for ${stallMs} ms`,
    });
  });

  test("a client that takes nothing of its answer is cut, and the Pod's connection is closed", async () => {
    const podClosed = Promise.withResolvers<void>();
    pod.answer((response, { method }) => {
      if (method === "HEAD") return void response.writeHead(404).end();
      response.on("close", podClosed.resolve);
      const fill = () => {
        while (response.write(new Uint8Array(1 << 20)));
      };
      response.writeHead(200).on("drain", fill);
      fill();
    });
    const client = await begin(stack.current.edge, `GET /v2/globex/app/blobs/${digest}`);
    client.socket.once("data", () => client.socket.pause());
    await podClosed.promise;
    expect(await lastLine(stack)).toMatchObject({
      outcome: "broken",
      cause: `the client took nothing of its answer's body for ${stallMs} ms`,
    });
    client.socket.destroy();
  });
});

describe("request's body that stands still", () => {
  test.each(["Content-Length: 100", "Transfer-Encoding: chunked"])(
    "a client that stops in the middle gets 503, and the Pod's connection is closed: %s",
    async (framing) => {
      mute.isReading = true;
      const before = muteService.sockets.length;
      const client = await begin(muteStack.current.edge, `PATCH ${upload}`, [framing]);
      client.send(framing.startsWith("Transfer") ? "4\r\nhalf\r\n" : "half");
      const startedAtMs = performance.now();
      await expect.poll(() => muteService.received[before], { timeout: 5_000 }).toContain("half");
      await expect.poll(() => muteService.sockets[before]?.closed, { timeout: 10_000 }).toBe(true);
      expectStall(startedAtMs);
      await expect
        .poll(() => client.received(), { timeout: 5_000 })
        .toMatch(/^HTTP\/1\.1 503 [\s\S]*\r\nRetry-After: 5\r\n/i);
      expect(await lastLine(muteStack)).toMatchObject({
        outcome: "client-left",
        status: 503,
        cause: `the client sent nothing of its request's body for ${stallMs} ms`,
      });
      client.socket.destroy();
    },
  );

  test.each([
    ["POST", "/v2/globex/app/blobs/uploads/"],
    ["PATCH", upload],
    ["PUT", `${upload}?digest=${digest}`],
  ])("a Pod that accepts 30 MB by %s and reads nothing is cut off, and the client gets 503", async (method, target) => {
    mute.isReading = false;
    const token = await tokenFor(muteStack.current.edge);
    const startedAtMs = performance.now();
    const body = new Uint8Array(30 << 20);
    const answer = await createClient(muteStack.current.edge).get(target, token, { method, body });
    expect([answer.status, answer.headers.get("Retry-After")]).toEqual([503, "5"]);
    expectStall(startedAtMs);
    mute.isReading = true;
    muteService.sockets.at(-1)?.resume();
    await expect.poll(() => muteService.sockets.at(-1)?.closed, { timeout: 5_000 }).toBe(true);
    expect(await lastLine(muteStack)).toMatchObject({
      outcome: "unavailable",
      cause: `took nothing of the request's body for ${stallMs} ms`,
    });
  });
});

describe("body that moves", () => {
  test("it is never cut, however slow, in either direction", async () => {
    const [piece, pieces, pauseMs] = ["0123456789", 12, 300];
    pod.answer(async (response, { method }) => {
      if (method !== "GET") return void response.writeHead(202).end();
      response.writeHead(200);
      for (let sent = 0; sent < pieces; sent += 1) {
        response.write(piece);
        await sleep(pauseMs);
      }
      response.end();
    });
    const body = new ReadableStream({
      async start(controller) {
        for (let sent = 0; sent < pieces; sent += 1) {
          controller.enqueue(new Uint8Array(Buffer.from(piece)));
          await sleep(pauseMs);
        }
        controller.close();
      },
    });
    const client = createClient(stack.current.edge);
    const token = await tokenFor(stack.current.edge);
    const [down, up] = await Promise.all([
      client.get(path, token).then(async (answer) => answer.text()),
      client.get(upload, token, { method: "PATCH", body, duplex: "half" }),
    ]);
    expect([down, up.status]).toEqual([piece.repeat(pieces), 202]);
    expect(pod.seen.find(({ method }) => method === "PATCH")?.body).toBe(piece.repeat(pieces));
  });

  test("40 MB arrive as they were sent, in either direction, with their length", async () => {
    const bytes = new Uint8Array(40 << 20).map((_, index) => (index * 7 + (index >> 11)) & 255);
    const own = await sha256(bytes);
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:acme/large:pull,push", "repository:globex/app:pull"]);
    const started = await client.get("/v2/acme/large/blobs/uploads/", token, { method: "POST" });
    const target = `${started.headers.get("Location")}&digest=${own}`;
    // The registry checks the digest, so its 201 says that all bytes have come.
    expect((await client.get(target, token, { method: "PUT", body: bytes })).status).toBe(201);
    pod.answer((response, { method }) => {
      if (method === "HEAD") response.writeHead(404).end();
      else response.writeHead(200, { "Content-Length": bytes.length }).end(bytes);
    });
    const answer = await client.get(`/v2/globex/app/blobs/${own}`, token);
    expect(answer.headers.get("Content-Length")).toBe(String(bytes.length));
    expect(await sha256(new Uint8Array(await answer.arrayBuffer()))).toBe(own);
  });
});
