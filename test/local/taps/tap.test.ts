import { createHash } from "node:crypto";
import { afterEach, expect, test, vi } from "vitest";
import type { SeenRequest } from "../../../src/local/taps/seen-requests.ts";
import { startTap, type Tap } from "../../../src/local/taps/tap.ts";
import { count, type RawClient, type RawService, rawClient, rawService } from "../../support/raw-sockets.ts";

const open: { stop(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.stop();
});

type Bench = { tap: Tap; service: RawService; client: RawClient };

async function bench(answer: (received: string) => string | null): Promise<Bench> {
  const service = await rawService(answer);
  const tap = await startTap(service.port, "127.0.0.1");
  open.push(service, tap);
  const client = await rawClient(tap.url);
  open.push({ stop: async () => void client.socket.destroy() });
  return { tap, service, client };
}

const afterHead = (text: string) => (received: string) => (received.endsWith("\r\n\r\n") ? text : null);
const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
const seenBy = async (tap: Tap): Promise<SeenRequest[]> => (await fetch(`${tap.url}/-/seen`)).json();

test("a tap passes request headers in their case, order and number, and Host, path and query unchanged", async () => {
  const { service, client } = await bench(afterHead(ok));
  const head =
    "GET /v2/a/../b%2Fc?x=1&&y=%zz HTTP/1.1\r\nhOST: registry.example:1234\r\nX-Twice: a\r\nACCEPT: x\r\nX-Twice: b\r\nConnection: keep-alive\r\n\r\n";
  client.send(head);
  await vi.waitFor(() => expect(client.received()).toContain("hi"));
  expect(service.received[0]).toBe(head);
});

test("a tap passes an answer byte for byte: it adds no header, and keeps reason phrase and duplicates", async () => {
  const answer =
    "HTTP/1.1 200 Fine Indeed\r\nwww-AUTHENTICATE: a\r\nWWW-Authenticate: b\r\nETag: \xe9\r\ncontent-length: 3\r\n\r\nabc";
  const { client } = await bench(afterHead(answer));
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await vi.waitFor(() => expect(client.received()).toBe(answer));
});

test("a tap passes a chunked body as chunked, in both directions", async () => {
  const answer = "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n";
  const { tap, service, client } = await bench((received) => (received.endsWith("0\r\n\r\n") ? answer : null));
  client.send("PATCH /u HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
  await vi.waitFor(() => expect(client.received()).toBe(answer));
  expect(service.received[0]).toContain("\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
  expect(service.received[0]).not.toContain("Content-Length");
  expect(tap.seen()).toMatchObject([{ method: "PATCH", status: 202, requestBytes: 5, responseBytes: 4 }]);
});

test("a tap passes a POST without a body, and gives it a length of 0", async () => {
  const { service, client } = await bench(afterHead(ok));
  client.send("POST /u HTTP/1.1\r\nHost: a\r\n\r\n");
  await vi.waitFor(() => expect(client.received()).toContain("hi"));
  expect(service.received[0]).toContain("\r\nContent-Length: 0\r\n");
  expect(service.received[0]).not.toContain("chunked");
});

// distribution answers a blob's HEAD with a 307 without a length (Go's `http.Redirect`).
test.each([
  ["with a length", "HTTP/1.1 200 OK\r\nContent-Length: 123456\r\n\r\n"],
  ["without a length", "HTTP/1.1 307 Temporary Redirect\r\nLocation: /x\r\n\r\n"],
])("a tap passes an answer to HEAD %s as it is, and its connections serve the next request", async (_, answer) => {
  const { tap, service, client } = await bench(afterHead(answer));
  client.send("HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n");
  await vi.waitFor(() => expect(client.received()).toBe(answer));
  client.send("HEAD /b HTTP/1.1\r\nHost: a\r\n\r\n");
  await vi.waitFor(() => expect(client.received()).toBe(answer + answer));
  expect(service.sockets).toHaveLength(1);
  expect(tap.seen().map(({ method, path, responseBytes }) => [method, path, responseBytes])).toEqual([
    ["HEAD", "/a", 0],
    ["HEAD", "/b", 0],
  ]);
});

test("an answer that ends with its connection ends in the same way behind a tap", async () => {
  const { client, service } = await bench(afterHead("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nrest"));
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await vi.waitFor(() => expect(client.received()).toContain("rest"));
  service.sockets[0]?.end();
  await vi.waitFor(() => expect(client.closed()).toBe(true));
  expect(client.received()).toBe("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nrest");
});

test("a tap asks for 100 Continue and passes it on", async () => {
  const { service, client } = await bench((received) => {
    if (received.endsWith("body")) return ok;
    return received.endsWith("\r\n\r\n") ? "HTTP/1.1 100 Continue\r\n\r\n" : null;
  });
  client.send("PUT /u HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
  await vi.waitFor(() => expect(client.received()).toBe("HTTP/1.1 100 Continue\r\n\r\n"));
  expect(service.received[0]).toContain("Expect: 100-continue");
  client.send("body");
  await vi.waitFor(() => expect(client.received()).toContain("hi"));
});

test("a tap passes an early answer to a client that is still sending, and the client may then go on", async () => {
  const early = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
  let answered = false;
  const { tap, client } = await bench((received) => {
    if (answered || !received.includes("\r\n\r\n")) return null;
    answered = true;
    return early;
  });
  client.send("PATCH /u HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
  await vi.waitFor(() => expect(client.received()).toBe(early));
  client.send("defghij");
  await vi.waitFor(() => expect(tap.seen()).toMatchObject([{ status: 401, requestBytes: 10 }]));
});

test("a tap closes the service's connection when the client gives up, and lists the request without a status", async () => {
  const { tap, service, client } = await bench(() => null);
  client.send("PATCH /u HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc");
  await vi.waitFor(() => expect(service.received[0]).toContain("abc"));
  client.socket.destroy();
  await vi.waitFor(() => expect(service.sockets[0]?.destroyed).toBe(true));
  expect(tap.seen()).toMatchObject([{ status: null, requestBytes: 3, ms: null }]);
});

test("a tap cuts the answer to the client when the service cuts it", async () => {
  const { client, service } = await bench(afterHead("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"));
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await vi.waitFor(() => expect(client.received()).toContain("abc"));
  service.sockets[0]?.destroy();
  await vi.waitFor(() => expect(client.closed()).toBe(true));
});

test("a tap passes 120 KB of headers", async () => {
  const { service, client } = await bench(afterHead(ok));
  client.send(`GET / HTTP/1.1\r\nHost: a\r\nX-Long: ${"x".repeat(120 * 1024)}\r\n\r\n`);
  await vi.waitFor(() => expect(client.received()).toContain("hi"));
  expect(service.received[0]?.length).toBeGreaterThan(120 * 1024);
});

test("a tap lists who asked for what without the credentials, and clears the list on DELETE", async () => {
  const { tap, client } = await bench(afterHead(ok));
  for (const line of ["", "Authorization: Bearer abc\r\n", "authorization: basic x\r\n", "Authorization: AWS4 y\r\n"]) {
    const before = count(client.received(), "hi");
    client.send(`GET /v2/?q=1 HTTP/1.1\r\nHost: a\r\n${line}\r\n`);
    await vi.waitFor(() => expect(count(client.received(), "hi")).toBe(before + 1));
  }
  const seen = await seenBy(tap);
  expect(seen.map(({ authorization }) => authorization)).toEqual(["none", "bearer", "basic", "other"]);
  expect(seen[0]).toEqual({
    method: "GET",
    path: "/v2/?q=1",
    status: 200,
    requestBytes: 0,
    responseBytes: 2,
    authorization: "none",
    authorizationSha256: null,
    ms: expect.any(Number),
  });
  expect(seen[1]?.authorizationSha256).toBe(createHash("sha256").update("Bearer abc").digest("hex"));
  expect((await fetch(`${tap.url}/-/seen`, { method: "DELETE" })).status).toBe(204);
  expect(await seenBy(tap)).toEqual([]);
});

test("the fault refuse closes a tap's port and every connection; afterwards the same port serves again", async () => {
  const { tap, client } = await bench(afterHead(ok));
  await tap.setFault({ mode: "refuse" });
  await vi.waitFor(() => expect(client.closed()).toBe(true));
  await expect(rawClient(tap.url)).rejects.toThrow("ECONNREFUSED");
  await tap.setFault({ mode: "none" });
  expect(await (await fetch(`${tap.url}/x`)).text()).toBe("hi");
  expect(tap.seen()).toMatchObject([{ path: "/x", status: 200 }]);
});

test("the fault hang makes a tap read the whole body and never answer", async () => {
  const { tap, service, client } = await bench(afterHead(ok));
  await tap.setFault({ mode: "hang" });
  client.send("PATCH /u HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n");
  client.send("x".repeat(2_000_000));
  await vi.waitFor(() => expect(tap.seen()).toMatchObject([{ requestBytes: 2_000_000, status: null }]));
  expect(client.received()).toBe("");
  expect(client.closed()).toBe(false);
  expect(service.sockets).toHaveLength(0);
});

test("the fault reset makes a tap send the headers and then cut the connection", async () => {
  const { tap, client } = await bench(afterHead("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"));
  await tap.setFault({ mode: "reset" });
  client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  await vi.waitFor(() => expect(client.closed()).toBe(true));
  expect(client.received()).toBe("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
  expect(client.error()).toBe("ECONNRESET");
});

test("the fault delay makes a tap answer late, and the fault status makes it answer by itself", async () => {
  const { tap, service } = await bench(afterHead(ok));
  await tap.setFault({ mode: "delay", ms: 150 });
  const startedAt = performance.now();
  expect(await (await fetch(tap.url)).text()).toBe("hi");
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(145);
  await tap.setFault({ mode: "status", status: 503 });
  const response = await fetch(tap.url, { method: "POST", body: "abc" });
  expect([response.status, await response.text()]).toEqual([503, ""]);
  expect(service.sockets).toHaveLength(1);
  expect(tap.seen()).toMatchObject([{ status: 200 }, { status: 503, requestBytes: 3 }]);
});
