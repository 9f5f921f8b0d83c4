import type { IncomingMessage, RequestListener } from "node:http";
import { getRequestListener, type HttpBindings } from "@hono/node-server";
import { Hono } from "hono";
import { errorResponse } from "../oci/errors.ts";
import { parseEndpoint } from "../oci/parse-endpoint.ts";
import { mountLimits } from "../pods/mount-order.ts";
import { createCollector } from "./collect-garbage.ts";
import type { GatewayConfig } from "./config.ts";
import { CopyBounds } from "./copy-bounds.ts";
import type { GatewayRecord, WriteLog } from "./log.ts";
import type { RelayLimits } from "./relay.ts";
import { type MountLimits, serveMount } from "./serve-mount.ts";
import { type Served, serveUpload } from "./serve-upload.ts";
import { UploadBounds } from "./upload-bounds.ts";

export type GatewayLimits = RelayLimits & MountLimits;

const usualLimits: GatewayLimits = { stallMs: 60_000, answerMs: 300_000, ...mountLimits };

export type Gateway = {
  readonly listener: RequestListener;
  /** After this call, each answer closes its connection, and the health check fails, so that a load balancer sends no more requests. */
  readonly drain: () => void;
};

/** Creates the gateway's whole service: uploads with a grant, mounts with an order, and a health check. */
export function createGateway(
  config: GatewayConfig,
  writeLog: WriteLog,
  given: { readonly limits?: Partial<GatewayLimits> } = {},
): Gateway {
  const limits = { ...usualLimits, ...given.limits };
  const bounds = new CopyBounds();
  const collectAfter = createCollector();
  const uploads = new UploadBounds();
  let isDraining = false;
  const app = new Hono<{ Bindings: HttpBindings }>();
  app.use(async (c, next) => {
    await next();
    if (isDraining || isUnreadGet(c.env.incoming)) c.res.headers.set("Connection", "close");
  });
  app.get("/-/health", (c) => (isDraining ? c.json({ status: "ending" }, 503) : c.json({ status: "ok" })));
  app.all("*", async (c) => {
    const { incoming } = c.env;
    const now = new Date();
    let requestBytes = 0;
    const onBytes = (bytes: number) => {
      requestBytes += bytes;
      collectAfter(bytes);
    };
    // We read the client's address now, because its socket has none any more once the client has left.
    const client = incoming.socket.remoteAddress ?? "";
    const request = { url: new URL(c.req.url), incoming, now, onBytes };
    const endpoint = parseEndpoint(incoming.method ?? "", request.url);
    const served = await (endpoint.ok && endpoint.value.kind === "upload-start"
      ? serveMount({ incoming, now, repository: endpoint.value.name }, { config, limits, bounds })
      : serveUpload(request, { ...config, limits, uploads })
    ).catch(bug);
    writeLog(recordOf({ ...request, client, requestBytes }, served));
    return served.response;
  });
  const listen = getRequestListener(app.fetch, {
    overrideGlobalObjects: false,
    // Takes the place of a missing `Host`, because some load balancers check the health in HTTP/1.0. The gateway does not use the host.
    hostname: "gateway",
    errorHandler: malformedRequest,
  });
  return {
    listener: (incoming, outgoing) => void listen(incoming, outgoing),
    drain: () => {
      isDraining = true;
    },
  };
}

/**
 * The answer to a GET or HEAD whose body has not ended closes the connection. Otherwise a stranger who sends the body slowly could keep the gateway
 * from shutting down. The bodies of other methods have time limits.
 */
const isUnreadGet = ({ method, complete }: IncomingMessage): boolean =>
  (method === "GET" || method === "HEAD") && !complete;

/**
 * If a request's URL or `Host` does not parse, the answer closes the connection. The rest of this request has no time limit, so a stranger who sends
 * it slowly could keep the gateway from shutting down.
 */
const malformedRequest = (): Response =>
  errorResponse({
    code: "UNSUPPORTED",
    status: 400,
    message: "the request's URL or Host is malformed; want the push location as it is",
    headers: { Connection: "close" },
  });

/** The path of an upload is shorter than this, but a stranger can send a path of 128 KB. */
const maxLoggedCharacters = 2_000;

type Received = {
  readonly url: URL;
  readonly incoming: IncomingMessage;
  readonly now: Date;
  readonly client: string;
  readonly requestBytes: number;
};

function recordOf(
  { url, incoming, now, client, requestBytes }: Received,
  { response, ...told }: Served,
): GatewayRecord {
  return {
    log: "gateway",
    at: now.toISOString(),
    method: incoming.method ?? "",
    path: url.pathname.slice(0, maxLoggedCharacters),
    status: response.status,
    ...told,
    requestBytes,
    client,
    ms: Date.now() - now.getTime(),
  };
}

function bug(error: unknown): Served {
  const cause = error instanceof Error ? error.message : "unknown error";
  return { response: errorResponse({ code: "UNKNOWN", message: "internal error" }), outcome: "failed", cause };
}
