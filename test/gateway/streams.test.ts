import { spawn } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import { grantParameter, sealGrant } from "../../src/pods/upload-grant.ts";
import { edgeOrigin, repositoryName, startTestGateway } from "../support/gateway.ts";
import { rawClient, rawService } from "../support/raw-sockets.ts";
import { serveForTest, startToyPod, type ToyPod } from "../support/toy-pod.ts";

const path = "/v2/acme/stream/blobs/uploads/1";
const limits = { stallMs: 60_000, answerMs: 60_000 };

/** `target` is the path and query of an upload to the gateway, with its grant. */
async function gatewayTo(port: number, given: Partial<typeof limits> = {}, protocol = "http:") {
  const registry = `${protocol}//127.0.0.1:${port}`;
  const env = { REGISTRY: registry };
  const pod: ToyPod = { ...(await startToyPod()), registry };
  const gateway = await startTestGateway({ pod, env, limits: { ...limits, ...given } });
  const grant = {
    ...{ pod: "pod-a", repository: repositoryName("acme/stream"), upload: "1", query: "_state=s%2Ft", token: null },
    ...{ pin: "p", edge: edgeOrigin, registry },
  };
  const sealed = await sealGrant(grant, { keys: gateway.config.keys, now: new Date() });
  return { gateway, target: `${path}?${grantParameter}=${sealed}` };
}

async function rawRegistry(answer: Parameters<typeof rawService>[0]) {
  const service = await rawService(answer);
  onTestFinished(() => service.stop());
  return service;
}

const accepted = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nRange: 0-3\r\n\r\n";
const headOf = (target: string, ...lines: readonly string[]) =>
  [`PATCH ${target} HTTP/1.1`, "Host: gateway", ...lines, "", ""].join("\r\n");

describe("gateway, bodies", () => {
  test.each([
    ["an announced length stays announced", ["Content-Length: 4"], "body", /^Content-Length: 4$/im],
    [
      "a chunked body stays chunked",
      ["Transfer-Encoding: chunked"],
      "4\r\nbody\r\n0\r\n\r\n",
      /^Transfer-Encoding: chunked$/im,
    ],
    ["a request without a body has the length 0", [], "", /^Content-Length: 0$/im],
  ])("%s", async (_, lines, body, framing) => {
    const registry = await rawRegistry((received) =>
      /\r\n\r\n(body|4\r\nbody\r\n0\r\n\r\n|)$/.test(received) ? accepted : null,
    );
    const { gateway, target } = await gatewayTo(registry.port);
    const client = await rawClient(gateway.url);
    client.send(headOf(target, "Content-Range: 0-3", ...lines) + body);
    await expect.poll(() => client.received()).toMatch(/^HTTP\/1\.1 202 [\s\S]*\r\nrange: 0-3\r\n/i);
    const [received = ""] = registry.received;
    expect(received).toMatch(/^PATCH \/v2\/acme\/stream\/blobs\/uploads\/1\?_state=s%2Ft HTTP\/1\.1\r\n/);
    expect(received).toMatch(framing);
    expect(received.match(/^(Content-Length|Transfer-Encoding):/gim)).toHaveLength(1);
    expect(received).toMatch(/^Content-Range: 0-3$/im);
    expect(received).not.toMatch(/^Authorization:/im);
    client.socket.destroy();
  });

  test("a body in chunks of one byte passes whole in few chunks, because each chunk costs CPU time", async () => {
    const registry = await rawRegistry((received) => (received.endsWith("\r\n0\r\n\r\n") ? accepted : null));
    const { gateway, target } = await gatewayTo(registry.port);
    const client = await rawClient(gateway.url);
    const bytes = 40_000;
    client.send(`${headOf(target, "Transfer-Encoding: chunked")}${"1\r\nx\r\n".repeat(bytes)}0\r\n\r\n`);
    await expect.poll(() => client.received(), { timeout: 10_000 }).toMatch(/^HTTP\/1\.1 202 /);
    client.socket.destroy();
    const [received = ""] = registry.received;
    const lines = received.slice(received.indexOf("\r\n\r\n") + 4).split("\r\n");
    expect(lines.filter((line) => line.startsWith("x")).join("")).toBe("x".repeat(bytes));
    expect(lines.length / 2).toBeLessThan(500);
    expect(gateway.lines).toMatchObject([{ requestBytes: bytes }]);
  });

  test.each([
    ["of an announced length", ["Content-Length: 1000"], "half"],
    ["of unknown length", ["Transfer-Encoding: chunked"], "4\r\nhalf\r\n"],
  ])("if a client breaks off a body %s, the registry never takes it for a whole one", async (_, lines, half) => {
    const registry = await rawRegistry(() => null);
    const { gateway, target } = await gatewayTo(registry.port);
    const client = await rawClient(gateway.url);
    client.send(headOf(target, ...lines) + half);
    await expect.poll(() => registry.received[0]).toContain("half");
    client.socket.destroy();
    await expect.poll(() => registry.sockets[0]?.readableEnded === true || registry.sockets[0]?.destroyed).toBe(true);
    expect(registry.received[0]).not.toMatch(/\r\n0\r\n\r\n$/);
    expect(registry.received).toHaveLength(1);
    await expect.poll(() => gateway.lines).toMatchObject([{ outcome: "client-left", status: 499, requestBytes: 4 }]);
  });

  test("the registry sees the headers before the body comes, because it checks a token that may live only a minute", async () => {
    const registry = await rawRegistry(() => null);
    const { gateway, target } = await gatewayTo(registry.port);
    const client = await rawClient(gateway.url);
    client.send(headOf(target, "Content-Length: 1000"));
    await expect.poll(() => registry.received[0] ?? "").toMatch(/\r\n\r\n$/);
    client.socket.destroy();
  });

  test("a registry's early refusal reaches a client that is still sending", async () => {
    const refusal = '{"errors":[{"code":"DENIED","message":"quota"}]}';
    const registry = await rawRegistry(
      () =>
        `HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: ${refusal.length}\r\n\r\n${refusal}`,
    );
    const { gateway, target } = await gatewayTo(registry.port);
    const client = await rawClient(gateway.url);
    client.send(`${headOf(target, "Content-Length: 1000000")}the first bytes`);
    await expect.poll(() => client.received()).toContain(refusal);
    expect(client.received()).toMatch(/^HTTP\/1\.1 403 /);
    // The gateway closes the connection and does not wait for the rest of the body.
    await expect.poll(() => client.closed(), { timeout: 5_000 }).toBe(true);
  });

  test("a registry's early refusal of a large body is not lost, because the gateway does not ask the registry to close the connection", async () => {
    // A registry that is asked to close does so right after its answer. The rest of the body then breaks the connection, and the answer is lost.
    const registry = await serveForTest((_, response) => void response.writeHead(403).end());
    const { gateway, target } = await gatewayTo(registry);
    const body = Buffer.alloc(30 * 1024 * 1024);
    for (let time = 0; time < 5; time += 1) {
      const request = http.request(gateway.url + target, { method: "PATCH" }).on("error", () => {});
      request.end(body);
      await once(request, "response");
      request.destroy();
    }
    expect(gateway.lines.map(({ status }) => status)).toEqual([403, 403, 403, 403, 403]);
  });

  test("a proxy's 413 in HTML becomes an OCI error", async () => {
    const registry = await rawRegistry((received) =>
      received.endsWith("body")
        ? "HTTP/1.1 413 Too Large\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
        : null,
    );
    const { gateway, target } = await gatewayTo(registry.port);
    const answer = await fetch(gateway.url + target, { method: "PATCH", body: "body" });
    expect([answer.status, await answer.json()]).toMatchObject([413, { errors: [{ code: "SIZE_INVALID" }] }]);
  });

  test.each([
    ["whose client sends nothing", "client-left", "the client sent nothing of its request's body for 300 ms"],
    ["that the registry does not read", "unavailable", "the registry took nothing of the request's body for 300 ms"],
  ])(
    "a body %s for as long as is allowed is cut, and the 503 and the log (%s) say so",
    async (what, outcome, cause) => {
      const registry = await rawRegistry((_, socket) => {
        if (what === "that the registry does not read") socket.pause();
        return null;
      });
      const { gateway, target } = await gatewayTo(registry.port, { stallMs: 300 });
      const client = await rawClient(gateway.url);
      client.send(headOf(target, "Content-Length: 50000000"));
      const piece = Buffer.alloc(1024 * 1024);
      if (what === "that the registry does not read")
        for (let sent = 0; sent < 40; sent += 1) client.socket.write(piece);
      const message = outcome === "client-left" ? "the request's body broke off" : "does not answer; try again";
      await expect.poll(() => client.received(), { timeout: 10_000 }).toContain(message);
      expect(client.received()).toMatch(/^HTTP\/1\.1 503 [\s\S]*UNAVAILABLE/);
      expect(gateway.lines).toMatchObject([{ outcome, cause, status: 503 }]);
      client.socket.destroy();
    },
  );

  test("a registry that never completes its TLS handshake is to blame, and not the client whose whole body has come", async () => {
    const registry = await rawRegistry(() => null);
    const { gateway, target } = await gatewayTo(registry.port, { stallMs: 300 }, "https:");
    const answer = await fetch(gateway.url + target, { method: "PATCH", body: "body" });
    expect([answer.status, await answer.text()]).toEqual([503, expect.stringContaining("does not answer")]);
    expect(gateway.lines).toMatchObject([
      { outcome: "unavailable", cause: "the registry took nothing of the request's body for 300 ms" },
    ]);
  });

  test("a body that moves is never cut, however slowly", async () => {
    const registry = await rawRegistry((received) => (received.endsWith("0123456789") ? accepted : null));
    const { gateway, target } = await gatewayTo(registry.port, { stallMs: 400 });
    const client = await rawClient(gateway.url);
    client.send(headOf(target, "Content-Length: 10"));
    for (const digit of "0123456789") {
      client.send(digit);
      await sleep(100);
    }
    await expect.poll(() => client.received()).toMatch(/^HTTP\/1\.1 202 /);
    client.socket.destroy();
  });

  test("a registry that gives no answer in time may finish for as long again, and the client gets 503", async () => {
    const registry = await rawRegistry(() => null);
    const { gateway, target } = await gatewayTo(registry.port, { answerMs: 200 });
    const answer = await fetch(gateway.url + target, { method: "PUT", body: "body" });
    expect([answer.status, answer.headers.get("Retry-After")]).toEqual([503, "5"]);
    expect(registry.sockets[0]?.destroyed).toBe(false);
    await expect.poll(() => registry.sockets[0]?.destroyed).toBe(true);
  });

  test("a registry that gives no answer in time does not keep the program from ending", async () => {
    const registry = await rawRegistry(() => null);
    const program = `
      import http from "node:http";
      import { relay } from "${new URL("../../src/gateway/relay.ts", import.meta.url).href}";
      const server = http.createServer(async (incoming, outgoing) => {
        const about = { headers: {}, limits: { stallMs: 60_000, answerMs: 3_000 }, onBytes: () => {} };
        await relay(incoming, { url: new URL("http://127.0.0.1:${registry.port}"), ...about });
        server.close();
        outgoing.end();
      });
      server.listen(0, "127.0.0.1", () => console.log(server.address().port));
    `;
    const child = spawn(process.execPath, ["--input-type=module", "--eval", program], { cwd: import.meta.dirname });
    onTestFinished(() => void child.kill("SIGKILL"));
    const exited = once(child, "exit");
    const port = String((await once(child.stdout, "data"))[0]).trim();
    await fetch(`http://127.0.0.1:${port}`, { method: "PUT", body: "body", headers: { Connection: "close" } });
    expect(registry.sockets).toHaveLength(1);
    expect(await Promise.race([exited, sleep(2_000, "still running")])).toEqual([0, null]);
  });

  test.each([
    ["refuses connections", null],
    ["breaks off", "cut"],
    ["answers what is not HTTP", "hello\r\n\r\n"],
    ["answers 101 and changes the protocol", "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"],
    ["sends many interim answers", "HTTP/1.1 103 a\r\n\r\n".repeat(20)],
  ])("a registry that %s gives 503 with Retry-After", async (_, answer) => {
    const registry = await rawRegistry((_received, socket) => {
      if (answer === "cut") socket.destroy();
      return answer === "cut" ? null : answer;
    });
    const { gateway, target } = await gatewayTo(registry.port);
    if (answer === null) await registry.stop();
    const { status, headers } = await fetch(gateway.url + target, { method: "PUT", body: "body" });
    expect([status, headers.get("Retry-After")]).toEqual([503, "5"]);
  });

  test.each([
    ["another repository", "/v2/acme/other/blobs/uploads/1?_state=x"],
    ["another upload", "/v2/acme/stream/blobs/uploads/2?_state=x"],
    ["another host", "http://evil.example/v2/acme/stream/blobs/uploads/1"],
    ["a manifest", "/v2/acme/stream/manifests/1"],
    ["what is not an endpoint", "https://169.254.169.254/"],
  ])("a registry's Location that is %s becomes 502, and is not followed or shown", async (_, location) => {
    const registry = await rawRegistry(
      () => `HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nLocation: ${location}\r\n\r\n`,
    );
    const { gateway, target } = await gatewayTo(registry.port);
    const answer = await fetch(gateway.url + target, { method: "PATCH", body: "body" });
    expect([answer.status, answer.headers.get("Location")]).toEqual([502, null]);
  });

  test("parameters of the edge's own in a registry's Location do not come back to the edge", async () => {
    const place = `${path}?_pod_bytes=1&_grant=x&_pod=x&_state=x`;
    const registry = await rawRegistry(
      () => `HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nLocation: ${place}\r\n\r\n`,
    );
    const { gateway, target } = await gatewayTo(registry.port);
    const answer = await fetch(gateway.url + target, { method: "PATCH", body: "body" });
    const { searchParams } = new URL(answer.headers.get("Location") ?? "");
    expect([answer.status, [...searchParams.keys()], searchParams.getAll("_pod")]).toEqual([
      202,
      ["_state", "_pod"],
      [expect.not.stringMatching(/^x$/)],
    ]);
  });

  test("a registry's redirect is not followed and not passed on", async () => {
    const registry = await rawRegistry(
      () => `HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\nLocation: ${path}?_state=x\r\n\r\n`,
    );
    const { gateway, target } = await gatewayTo(registry.port);
    const answer = await fetch(gateway.url + target, { method: "PATCH", body: "body", redirect: "manual" });
    expect(answer.status).toBe(502);
    expect(registry.received).toHaveLength(1);
  });

  test("200 MB pass at the pace of a slow registry, and memory stays flat", async () => {
    let received = 0;
    const server = http.createServer((request, response) => {
      request.on("data", (chunk: Buffer) => {
        received += chunk.length;
        // The registry stops for a moment every 8 MiB, as if its disk were slow.
        if (received % (8 * 1024 * 1024) < chunk.length) {
          request.pause();
          setTimeout(() => request.resume(), 20);
        }
      });
      request.on("end", () => response.writeHead(202, { "Content-Length": 0 }).end());
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void server.close());
    const { gateway, target } = await gatewayTo((server.address() as AddressInfo).port);
    const bytes = 200 * 1024 * 1024;
    const piece = Buffer.alloc(1024 * 1024);
    const before = process.memoryUsage().rss;
    let peak = before;
    const watch = setInterval(() => {
      peak = Math.max(peak, process.memoryUsage().rss);
    }, 20);
    const sent = await new Promise<number>((resolve, reject) => {
      const request = http.request(gateway.url + target, { method: "PATCH" }, (answer) => {
        answer.resume();
        resolve(answer.statusCode ?? 0);
      });
      request.on("error", reject);
      let left = bytes / piece.length;
      const write = () => {
        while (left > 0) {
          left -= 1;
          if (!request.write(piece)) {
            request.once("drain", write);
            return;
          }
        }
        request.end();
      };
      write();
    });
    clearInterval(watch);
    expect([sent, received]).toEqual([202, bytes]);
    expect(gateway.lines).toMatchObject([{ requestBytes: bytes }]);
    // The client and the registry of this test are in this process too, so their memory counts as well.
    expect((peak - before) / 1024 / 1024).toBeLessThan(100);
  });
});

describe("gateway, stolen push location", () => {
  test("no more than four requests of one upload are open at the registry, and the place of one that ends is free", async () => {
    const registry = await rawRegistry(() => null);
    const { gateway, target } = await gatewayTo(registry.port);
    const clients = await Promise.all(Array.from({ length: 12 }, () => rawClient(gateway.url)));
    for (const client of clients) client.send(headOf(target, "Content-Length: 100"));
    const refused = () => clients.filter((client) => client.received().startsWith("HTTP/1.1 503 "));
    await expect.poll(() => refused().length).toBe(8);
    expect(refused()[0]?.received()).toMatch(/retry-after: 5\r\n[\s\S]*too many requests of this upload are open/i);
    await expect.poll(() => registry.received.filter((text) => text.includes("PATCH")).length).toBe(4);
    for (const { socket } of clients) socket.destroy();
    await expect.poll(() => registry.sockets.every(({ destroyed }) => destroyed)).toBe(true);
    const next = await rawClient(gateway.url);
    next.send(headOf(target, "Content-Length: 100"));
    await expect.poll(() => registry.received.filter((text) => text.includes("PATCH")).length).toBe(5);
    next.socket.destroy();
  });
});

test("gateway, orders: an order in chunks of one byte is given up before it ends", async () => {
  const { gateway } = await gatewayTo(1);
  const client = await rawClient(gateway.url);
  const head = "POST /v2/acme/app/blobs/uploads/ HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n";
  client.send(head + "1\r\nx\r\n".repeat(300));
  await expect.poll(() => client.received(), { timeout: 5_000 }).toMatch(/^HTTP\/1\.1 404 /);
  expect(gateway.lines.at(-1)).toMatchObject({ outcome: "refused", cause: "no order came" });
  client.socket.destroy();
});
