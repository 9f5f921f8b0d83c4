import type { Server, ServerOptions } from "node:http";
import net from "node:net";
import type { TlsOptions } from "node:tls";

/** A push location is long, because the client's token is in it. Cloudflare also takes headers of up to 128 KB. */
const maxHeaderSize = 128 * 1024;
/** 75 s is longer than load balancers keep an idle connection. So no load balancer uses a connection that this program has just closed. */
const keepAliveTimeout = 75_000;

type HeaderLimits = {
  readonly headersMs: number;
  /** How often the server looks for clients that have exceeded `headersMs`. */
  readonly checkMs: number;
};
const usualLimits: HeaderLimits = { headersMs: 30_000, checkMs: 10_000 };

export const serverOptions = ({
  headersMs,
  checkMs,
}: HeaderLimits = usualLimits): ServerOptions & Pick<TlsOptions, "handshakeTimeout"> => ({
  maxHeaderSize,
  keepAliveTimeout,
  // A request has no time limit, because a large body takes long. The gateway itself cuts a body that does not move.
  requestTimeout: 0,
  // Without a limit for requests, Node sets none for headers either, and a client that sends half a header would keep its connection for ever.
  headersTimeout: headersMs,
  connectionsCheckingInterval: checkMs,
  handshakeTimeout: headersMs,
});

/** Takes no more connections, and calls `onEnded` when the last one has ended. */
export function closeServer(server: Server, onEnded: () => void): void {
  // The `close` of an HTTP server would also stop the check of `headersTimeout`. A client that sends nothing, or half a header, would then keep the
  // program from ending.
  net.Server.prototype.close.call(server, onEnded);
  server.closeIdleConnections();
}
