/** How the gateway's HTTP server treats connections: their limits, and how they end when the program ends. */
import type { Server, ServerOptions } from "node:http";
import net from "node:net";
import type { TlsOptions } from "node:tls";

/** A push location is long, because the client's token is in it. Cloudflare's own limit for headers is 128 KB. */
const maxHeaderSize = 128 * 1024;
/** Longer than a load balancer keeps a connection, so that the load balancer never uses a connection that this program has just closed. */
const keepAliveTimeout = 75_000;

export type HeaderLimits = {
  /** How long a client may take for the headers of a request. */
  readonly headersMs: number;
  /** How often the server looks for clients that have taken longer. */
  readonly checkMs: number;
};
const usualLimits: HeaderLimits = { headersMs: 30_000, checkMs: 10_000 };

/**
 * A request has no time limit, because a large body takes long. The gateway itself cuts a body that does not move. If requests have no limit, Node by
 * default has no limit for headers either. So we set one, because a client that sends half a header would keep its connection for ever. A server with
 * its own TLS has the same limit for the handshake.
 */
export const serverOptions = ({
  headersMs,
  checkMs,
}: HeaderLimits = usualLimits): ServerOptions & Pick<TlsOptions, "handshakeTimeout"> => ({
  maxHeaderSize,
  keepAliveTimeout,
  requestTimeout: 0,
  headersTimeout: headersMs,
  connectionsCheckingInterval: checkMs,
  handshakeTimeout: headersMs,
});

/**
 * Takes no more connections, and calls `onEnded` once the last one has ended. We do not call the `close` of an HTTP server. It also stops the check of
 * the limit for headers, so a client that sends nothing, or half a header, would keep the program from ending.
 */
export function closeServer(server: Server, onEnded: () => void): void {
  net.Server.prototype.close.call(server, onEnded);
  server.closeIdleConnections();
}
