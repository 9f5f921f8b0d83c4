import { setTimeout as sleep } from "node:timers/promises";
import { Log, LogLevel, Miniflare } from "miniflare";
import { afterAll, describe, expect, test } from "vitest";
import { root } from "../../src/local/paths.ts";
import { freePort } from "../../src/local/ports.ts";
import { bundleWorker } from "../../src/local/workerd/bundle-worker.ts";
import { readWorkerConfig } from "../../src/local/wrangler-config.ts";
import { startOddPod } from "../support/odd-pod.ts";
import { rawClient, rawService } from "../support/raw-sockets.ts";

const deadlineMs = 1_000;
const earlyMs = 300;
/** All pauses together are longer than the deadline. Two pauses together are shorter. */
const pauses = 4;
const pauseMs = 400;

// `fetchWithin` runs in workerd here, because it depends on how workerd streams bodies.
const worker = `
  import { fetchWithin } from "./fetch.js";
  const brokenBody = () => new ReadableStream({ pull: (controller) => controller.error(new Error("lost")) });
  /** Reads only a part of the request's body, and answers ${earlyMs} ms later if the edge has not aborted the request. */
  const earlyPod = {
    async fetch(url, { body, signal }) {
      const reader = body.getReader();
      await reader.read();
      await reader.cancel();
      await scheduler.wait(${earlyMs});
      signal.throwIfAborted();
      const headers = { "X-Limit": "100", "Content-Length": "9" };
      return new Response(url === "early:broken" ? brokenBody() : "too large", { status: 413, headers });
    },
  };
  export default {
    async fetch(request, env, context) {
      const length = request.headers.get("Content-Length");
      const url = new URL(request.url).searchParams.get("url");
      const result = await fetchWithin({
        url,
        method: request.method,
        headers: new Headers(),
        body: request.body,
        bodyBytes: length === null ? null : Number(length),
        deadlineMs: ${deadlineMs},
        ...(request.headers.has("X-Shorter") && { shorterMs: (sentBytes) => 300 + sentBytes }),
      }, {
        fetcher: url.startsWith("early:") ? earlyPod : globalThis,
        waitUntil: (promise) => context.waitUntil(promise),
        mayRetry: () => true,
        stallMs: 60_000,
      });
      return result.ok ? result.value : Response.json(result.error, { status: 599 });
    },
  };`;

const pod = await startOddPod();
const { compatibilityDate, compatibilityFlags } = await readWorkerConfig();
const miniflare = new Miniflare({
  port: 0,
  cf: false,
  telemetry: { enabled: false },
  log: new Log(LogLevel.ERROR),
  workers: [
    {
      config: {
        name: "fetch",
        compatibilityDate,
        compatibilityFlags,
        manifest: {
          mainModule: "worker.js",
          modulesRoot: "/",
          modules: {
            "worker.js": { type: "esm", contents: worker },
            "fetch.js": { type: "esm", contents: await bundleWorker(`${root}src/net/fetch.ts`) },
          },
        },
        env: {},
      },
      // The test calls workerd's own socket, because Miniflare's front would read a whole body before it passes the body on.
      dev: { unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }] },
    },
  ],
});
const workerUrl = await miniflare.unsafeGetDirectURL();
afterAll(() => miniflare.dispose());

const call = (init: RequestInit & { duplex?: "half" } = {}, url = pod.url): Promise<Response> =>
  fetch(`${workerUrl.origin}/?url=${encodeURIComponent(url)}`, init);

const slowText = "part".repeat(pauses);
const slowBody = (): ReadableStream =>
  new ReadableStream({
    async start(controller) {
      for (let sent = 0; sent < pauses; sent += 1) {
        controller.enqueue(new TextEncoder().encode("part"));
        await sleep(pauseMs);
      }
      controller.close();
    },
  });
const never = () => {};

test("a call without a User-Agent gets the edge's own, because firewalls refuse a request without one", async () => {
  pod.answer((response, { headers }) => void response.writeHead(headers["user-agent"] === undefined ? 403 : 200).end());
  expect((await call()).status).toBe(200);
  expect(pod.seen[0]?.headers["user-agent"]).toBe("registry-edge");
});

describe("deadline of a fetch", () => {
  test("it ends the wait for headers", async () => {
    pod.answer(never);
    const answer = await call();
    expect([answer.status, await answer.json()]).toEqual([
      599,
      { reason: "silent", text: `no answer within ${deadlineMs} ms` },
    ]);
  });

  test("two tries of a read share it, so that the client does not wait twice as long", async () => {
    const tries: ("breaks" | "hangs")[] = ["breaks", "hangs"];
    pod.answer(async (response) => {
      if (tries.shift() === "hangs") return never();
      await sleep(deadlineMs - 300);
      response.destroy();
    });
    const startedAt = Date.now();
    expect(await (await call()).json()).toMatchObject({ reason: "silent" });
    expect([tries, pod.seen.length]).toEqual([[], 2]);
    expect(Date.now() - startedAt).toBeLessThan(deadlineMs + 400);
  });

  test("it does not cut an answer that has begun", async () => {
    pod.answer(async (response) => {
      response.writeHead(200);
      for (let sent = 0; sent < pauses; sent += 1) {
        response.write("part");
        await sleep(pauseMs);
      }
      response.end();
    });
    expect(await (await call()).text()).toBe(slowText);
  });

  test("it does not cut a request's body of unknown length", async () => {
    pod.answer((response) => void response.writeHead(202).end());
    expect((await call({ method: "PATCH", body: slowBody(), duplex: "half" })).status).toBe(202);
    expect(pod.seen[0]).toMatchObject({ body: slowText, headers: { "transfer-encoding": "chunked" } });
  });

  test("it does not cut a request's body of announced length, and the length is announced to the Pod", async () => {
    pod.answer((response) => void response.writeHead(202).end());
    const body = slowBody();
    const headers = { "Content-Length": String(slowText.length) };
    expect((await call({ method: "PUT", body, headers, duplex: "half" })).status).toBe(202);
    expect(pod.seen[0]).toMatchObject({ body: slowText, headers: { "content-length": headers["Content-Length"] } });
  });

  test("it begins when the request's body has ended", async () => {
    pod.answer(never);
    const answer = await call({ method: "PATCH", body: slowBody(), duplex: "half" });
    expect([answer.status, await answer.json()]).toMatchObject([599, { reason: "silent" }]);
    expect(pod.seen[0]?.body).toBe(slowText);
  });
});

test.each([
  [0, 300],
  [400, 700],
  [5_000, deadlineMs],
])(
  "a shorter deadline goes by the %i bytes that were sent, and is at most the longer one: %i ms",
  async (bytes, expectedMs) => {
    pod.answer(never);
    const body = bytes === 0 ? null : new Blob([new Uint8Array(bytes)]).stream();
    const answer = await call({ method: "PATCH", body, duplex: "half", headers: { "X-Shorter": "yes" } });
    expect(await answer.json()).toEqual({ reason: "silent", text: `no answer within ${expectedMs} ms` });
  },
);

/** The result is `cut` if the edge closes the connection before the answer. */
function answerLate(lateMs: number): Promise<"cut" | "done"> {
  return new Promise((resolve) => {
    pod.answer(async (response) => {
      response.on("close", () => resolve(response.writableFinished ? "done" : "cut"));
      await sleep(lateMs);
      response.writeHead(202).end();
    });
  });
}

describe("deadline of a write", () => {
  test.each(["POST", "PUT", "PATCH", "DELETE"])(
    "it ends the client's wait and not the Pod's work: %s",
    async (method) => {
      const work = answerLate(2 * deadlineMs);
      const answer = await call({ method });
      expect([answer.status, await answer.json()]).toMatchObject([599, { reason: "silent" }]);
      expect(await work).toBe("done");
    },
  );

  test("the deadline of a read ends the Pod's work too", async () => {
    const work = answerLate(2 * deadlineMs);
    expect((await call()).status).toBe(599);
    expect(await work).toBe("cut");
  });
});

const early = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo large";
const largeBody = new Uint8Array(8 * 2 ** 20);

describe("early answer of a Pod, before the request's body has ended", () => {
  test("it reaches the client", async () => {
    const service = await rawService((received, socket) => {
      if (received.length === 0 || socket.writableEnded) return null;
      socket.end(early);
      return null;
    });
    const client = await rawClient(workerUrl.origin);
    const url = encodeURIComponent(`http://127.0.0.1:${service.port}`);
    client.send(`PATCH /?url=${url} HTTP/1.1\r\nHost: edge\r\nContent-Length: ${largeBody.length}\r\n\r\n`);
    client.socket.write(largeBody);
    await expect.poll(() => client.received()).toMatch(/^HTTP\/1\.1 413 .*\r\n\r\ntoo large$/s);
    client.socket.destroy();
    await service.stop();
  });

  // If a real Pod closes its connection at once, workerd may lose the answer. So these tests call `earlyPod`, an object inside the Worker.
  test("it is waited for after the rest of the body cannot be sent", async () => {
    const answer = await call({ method: "PATCH", body: largeBody }, "early:whole");
    expect([answer.status, await answer.text()]).toEqual([413, "too large"]);
  });

  test("its status reaches the client even if its own body is lost", async () => {
    const answer = await call({ method: "PATCH", body: largeBody }, "early:broken");
    expect([answer.status, answer.headers.get("X-Limit"), await answer.text()]).toEqual([413, "100", ""]);
  });
});

test("a fetch to a Pod that refuses connections says that it is unreachable", async () => {
  const answer = await call({}, `http://127.0.0.1:${await freePort()}`);
  expect([answer.status, await answer.json()]).toMatchObject([599, { reason: "unreachable" }]);
});

test.each([
  ["GET", 520, "unreachable", 2],
  ["GET", 521, "unreachable", 1],
  ["GET", 522, "silent", 1],
  ["GET", 523, "unreachable", 1],
  ["GET", 524, "silent", 1],
  ["GET", 525, "unreachable", 1],
  ["GET", 526, "unreachable", 1],
  ["GET", 530, "unreachable", 1],
  ["PUT", 520, "unreachable", 1],
  ["PUT", 524, "silent", 1],
])(
  "if Cloudflare answers a %s with %d in place of a Pod, the Pod is %s, and the request is sent %d times",
  async (method, status, reason, times) => {
    pod.answer((response) => void response.writeHead(status).end(`error code: ${status}`));
    const answer = await call({ method });
    const text = `Cloudflare answered ${status} in place of the service`;
    expect([answer.status, await answer.json()]).toMatchObject([599, { reason, text }]);
    expect(pod.seen).toHaveLength(times);
  },
);

test.each(["chunked", "of announced length"])(
  "a body that breaks off, %s, does not look whole to the Pod",
  async (framing) => {
    const service = await rawService(() => null);
    const client = await rawClient(workerUrl.origin);
    const url = encodeURIComponent(`http://127.0.0.1:${service.port}`);
    const [header, part] =
      framing === "chunked" ? ["Transfer-Encoding: chunked", "4\r\npart\r\n"] : ["Content-Length: 8", "part"];
    client.send(`PATCH /?url=${url} HTTP/1.1\r\nHost: edge\r\n${header}\r\n\r\n${part}`);
    await expect.poll(() => service.received[0]).toContain("part");
    client.socket.end();
    await expect.poll(() => service.sockets[0]?.readableEnded, { timeout: 3_000 }).toBe(true);
    expect(service.received).toEqual([expect.stringMatching(/part(\r\n)?$/)]);
    await expect.poll(() => client.received(), { timeout: 3_000 }).toContain('{"reason":"client-left"');
    client.socket.destroy();
    await service.stop();
  },
);
