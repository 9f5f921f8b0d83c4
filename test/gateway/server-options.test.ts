import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import https from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import tls from "node:tls";
import { expect, onTestFinished, test } from "vitest";
import { createGateway } from "../../src/gateway/app.ts";
import { closeServer, serverOptions } from "../../src/gateway/server-options.ts";
import { closeNow, listen } from "../../src/local/http-server.ts";
import { selfSignedCertificate } from "../support/certificate.ts";
import { gatewayConfig, gatewayKey } from "../support/gateway.ts";
import { rawClient } from "../support/raw-sockets.ts";

const options = serverOptions({ headersMs: 300, checkMs: 50 });
const listener: http.RequestListener = (request, response) => {
  request.resume().once("end", () => response.end("got the whole body"));
};
const half = "PATCH /v2/acme/app/blobs/uploads/1 HTTP/1.1\r\nHost: gateway\r\nX-Half";

async function listenForTest(server: http.Server): Promise<string> {
  const port = await listen(server);
  onTestFinished(() => {
    server.closeAllConnections();
    return closeNow(server);
  });
  return `http://127.0.0.1:${port}`;
}

const start = async () => rawClient(await listenForTest(http.createServer(options, listener)));

test("gateway's server: a client that sends half of its headers and stops gets 408, and its connection is closed", async () => {
  const client = await start();
  client.send(half);
  await expect.poll(() => client.closed(), { timeout: 5_000 }).toBe(true);
  expect(client.received()).toMatch(/^HTTP\/1\.1 408 /);
});

test("gateway's server: a body may take longer than the headers may", async () => {
  const client = await start();
  client.send("PATCH /v2/acme/app/blobs/uploads/1 HTTP/1.1\r\nHost: gateway\r\nContent-Length: 5\r\n\r\n");
  for (const byte of "layer") {
    await sleep(200);
    client.send(byte);
  }
  await expect.poll(() => client.received(), { timeout: 5_000 }).toContain("got the whole body");
});

function tlsServer(): http.Server {
  const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const pem = { cert: selfSignedCertificate(pair), key: pair.privateKey.export({ type: "pkcs8", format: "pem" }) };
  return https.createServer({ ...options, ...pem }, listener);
}

const ended = (server: http.Server) => new Promise<string>((resolve) => closeServer(server, () => resolve("ended")));

test.each([
  ["over HTTP", () => http.createServer(options, listener)],
  ["with its own TLS", tlsServer],
])(
  "gateway's server %s: clients that send nothing, or half of their headers, do not keep it from ending",
  async (_, create) => {
    const server = create();
    const url = await listenForTest(server);
    const clients = [await rawClient(url), await rawClient(url)];
    clients[1]?.send(half);
    await sleep(20);
    expect(await Promise.race([ended(server), sleep(5_000, "still open")])).toBe("ended");
    await expect.poll(() => clients.map((client) => client.closed())).toEqual([true, true]);
  },
);

function gatewayServer(): http.Server {
  const env = { POD: "pod-a", REGISTRY: "http://127.0.0.1:9", EDGE: "https://registry.example.com" };
  const gateway = createGateway(gatewayConfig({ ...env, GATEWAY_KEY: gatewayKey() }), () => {});
  return http.createServer(options, gateway.listener);
}

test.each(["/-/health", "/v2/acme/app/blobs/uploads/1", "/x"])(
  "gateway's server over HTTP: a GET of %s with a body that does not end is answered, and does not keep it from ending",
  async (path) => {
    const server = gatewayServer();
    const client = await rawClient(await listenForTest(server));
    client.send(`GET ${path} HTTP/1.1\r\nHost: uploads\r\n\r\n`);
    await expect.poll(() => client.received()).toContain("HTTP/1.1 ");
    expect(client.received()).not.toMatch(/^Connection: close/im);
    client.send(`GET ${path} HTTP/1.1\r\nHost: uploads\r\nContent-Length: 1000\r\n\r\n`);
    await expect.poll(() => client.received()).toMatch(/^Connection: close/im);
    const slow = setInterval(() => client.send("x"), 50);
    expect(await Promise.race([ended(server), sleep(5_000, "still open")])).toBe("ended");
    clearInterval(slow);
  },
);

test.each([
  ["Host that is no host", "GET / HTTP/1.1\r\nHost: a/b"],
  ["path with a backslash", "PATCH /\\x HTTP/1.1\r\nHost: uploads"],
])(
  "gateway's server over HTTP: a %s gets 400, and its body that does not end does not keep it from ending",
  async (_, head) => {
    const server = gatewayServer();
    const client = await rawClient(await listenForTest(server));
    client.send(`${head}\r\nContent-Length: 1000\r\n\r\n`);
    await expect.poll(() => client.received()).toContain("HTTP/1.1 400 ");
    const slow = setInterval(() => client.send("x"), 50);
    expect(await Promise.race([ended(server), sleep(5_000, "still open")])).toBe("ended");
    clearInterval(slow);
  },
);

test("gateway's server over HTTP: a health check by HTTP/1.0 without Host, as HAProxy sends it, gets 200", async () => {
  const client = await rawClient(await listenForTest(gatewayServer()));
  client.send("GET /-/health HTTP/1.0\r\n\r\n");
  await expect.poll(() => client.received()).toContain('{"status":"ok"}');
  expect(client.received()).toMatch(/^HTTP\/1\.1 200 /);
});

test("gateway's server: with its own TLS, a client that sends half of its headers does not keep it from ending", async () => {
  const server = tlsServer();
  const socket = tls.connect({ port: Number(new URL(await listenForTest(server)).port), rejectUnauthorized: false });
  socket.on("error", () => {});
  await once(socket, "secureConnect");
  socket.write(half);
  expect(await Promise.race([ended(server), sleep(5_000, "still open")])).toBe("ended");
});
