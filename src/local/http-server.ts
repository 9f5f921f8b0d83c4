/** The stack's own HTTP servers. They listen on 127.0.0.1 only, and a request's body may take any time to arrive. */
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { loopback } from "./ports.ts";

/** Workers allow 128 KB of headers. The other 8 KB are room for the request line. */
export const maxHeaderBytes = 136 * 1024;
const portRetryMs = 5_000;

export function createHttpServer(listener: http.RequestListener): http.Server {
  const server = http.createServer({ maxHeaderSize: maxHeaderBytes, requestTimeout: 0, keepAliveTimeout: 0 }, listener);
  server.maxHeadersCount = 0;
  return server;
}

/** Resolves with the port on which the server listens. Port 0 means any free port. */
export async function listen(server: http.Server, port = 0): Promise<number> {
  await once(server.listen(port, loopback), "listening");
  return (server.address() as AddressInfo).port;
}

/** Listens again on the port that the server had before. An outgoing connection may use that port for a moment, so we try several times. */
export async function listenAgain(server: http.Server, port: number): Promise<void> {
  for (const giveUpAt = Date.now() + portRetryMs; ; await sleep(50)) {
    try {
      await listen(server, port);
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE" || Date.now() > giveUpAt) throw error;
    }
  }
}

export function closeNow(server: http.Server): Promise<void> {
  if (!server.listening) return Promise.resolve();
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

export async function serve(listener: http.RequestListener): Promise<{ port: number; stop: () => Promise<void> }> {
  const server = createHttpServer(listener);
  const port = await listen(server);
  return { port, stop: () => closeNow(server) };
}
