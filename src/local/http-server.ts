/** Listening and closing for the stack's own HTTP servers: 127.0.0.1 only, no clock on a moving body. */
import http from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

export const loopback = "127.0.0.1";
/** 128 KB of headers as Workers allow them, and room for the request line. */
export const maxHeaderBytes = 136 * 1024;
const portRetryMs = 5_000;

export function createHttpServer(listener: http.RequestListener): http.Server {
  const server = http.createServer({ maxHeaderSize: maxHeaderBytes, requestTimeout: 0, keepAliveTimeout: 0 }, listener);
  server.maxHeadersCount = 0;
  return server;
}

/** Port 0 takes a free one. Resolves with the port. */
export function listen(server: http.Server, port = 0): Promise<number> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => () => {
      server.off("error", onError);
      server.off("listening", onListening);
      act();
    };
    const onListening = settle(() => resolve((server.address() as AddressInfo).port));
    const onError = (error: Error) => settle(() => reject(error))();
    server.on("error", onError).on("listening", onListening);
    server.listen(port, loopback);
  });
}

/** Port 0 always is. */
export async function isPortFree(port: number): Promise<boolean> {
  const server = http.createServer();
  try {
    await listen(server, port);
    return true;
  } catch {
    return false;
  } finally {
    await closeNow(server);
  }
}

/** Takes a port again that was ours: a passing connection may have it as its own end for a moment. */
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

/** Closes the listener and cuts every connection. */
export function closeNow(server: http.Server): Promise<void> {
  if (!server.listening) return Promise.resolve();
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

/** A server that lives as long as the stack. */
export async function serve(listener: http.RequestListener): Promise<{ port: number; stop: () => Promise<void> }> {
  const server = createHttpServer(listener);
  const port = await listen(server);
  return { port, stop: () => closeNow(server) };
}
