/** The program of the Pod gateway, which runs next to a registry. docs/gateway.md says how to run it. */
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { createGateway, type Gateway } from "./app.ts";
import { type GatewayConfig, parseGatewayConfig } from "./config.ts";
import { writeToStdout } from "./log.ts";
import { closeServer, serverOptions } from "./server-options.ts";

function main(): void {
  const config = parseGatewayConfig(process.env);
  if (!config.ok) {
    console.error(`gateway: ${config.error}`);
    process.exitCode = 2;
    return;
  }
  const gateway = createGateway(config.value, writeToStdout);
  const server = createServer(config.value, gateway);
  const { host, port } = config.value.listen;
  server.once("error", (error) => {
    console.error(`gateway: cannot listen on ${host} port ${port}: ${error.message}`);
    process.exitCode = 1;
  });
  server.listen(port, host, () => {
    const { registry, edges } = config.value;
    const { address, port: taken } = server.address() as AddressInfo;
    writeToStdout({ log: "gateway", at: now(), event: "listening", address, port: taken, registry, edges });
  });
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => end(server, gateway));
}

/** If the gateway itself terminates TLS, SIGHUP makes it read a renewed certificate. */
function createServer({ tls }: GatewayConfig, { listener }: Gateway): http.Server {
  const options = serverOptions();
  if (tls === null) return http.createServer(options, listener);
  const readPem = () => ({ cert: readFileSync(tls.certificate), key: readFileSync(tls.key) });
  const server = https.createServer({ ...options, ...readPem() }, listener);
  process.on("SIGHUP", () => renew(() => server.setSecureContext(readPem())));
  return server;
}

/** If the renewed certificate cannot be read, the server keeps the former one. */
function renew(read: () => void): void {
  try {
    read();
    writeToStdout({ log: "gateway", at: now(), event: "certificate renewed" });
  } catch (error) {
    const cause = error instanceof Error ? error.message : "unknown error";
    writeToStdout({ log: "gateway", at: now(), event: "certificate not renewed", cause });
  }
}

/** Ends the program after the running uploads have ended. A second signal ends it at once. */
function end(server: http.Server, gateway: Gateway): void {
  gateway.drain();
  writeToStdout({ log: "gateway", at: now(), event: "ending" });
  closeServer(server, () => writeToStdout({ log: "gateway", at: now(), event: "ended" }));
}

const now = (): string => new Date().toISOString();

main();
