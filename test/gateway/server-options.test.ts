import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { serverOptions } from "../../src/gateway/server-options.ts";
import { closeNow, listen } from "../../src/local/http-server.ts";
import { rawClient } from "../support/raw-sockets.ts";

async function start() {
  const server = http.createServer(serverOptions({ headersMs: 300, checkMs: 50 }), (request, response) => {
    request.resume().once("end", () => response.end("got the whole body"));
  });
  const port = await listen(server);
  onTestFinished(() => closeNow(server));
  return rawClient(`http://127.0.0.1:${port}`);
}

test("gateway's server: a client that sends half of its headers and stops gets 408, and its connection is closed", async () => {
  const client = await start();
  client.send("PATCH /v2/acme/app/blobs/uploads/1 HTTP/1.1\r\nHost: gateway\r\nX-Half");
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
