import type { IncomingMessage, RequestListener } from "node:http";
import { getRequestListener, type HttpBindings } from "@hono/node-server";
import { Hono } from "hono";
import { errorResponse } from "../oci/errors.ts";
import type { GatewayConfig } from "./config.ts";
import type { GatewayRecord, WriteLog } from "./log.ts";
import type { RelayLimits } from "./relay.ts";
import { type Served, serveUpload } from "./serve-upload.ts";

const usualLimits: RelayLimits = { stallMs: 60_000, answerMs: 300_000 };

export type Gateway = {
  readonly listener: RequestListener;
  /** After this call, each answer ends its connection, and the health check fails, so that no more requests are sent here. */
  readonly drain: () => void;
};

/** Creates the gateway's whole service: uploads by grant, and a health check. */
export function createGateway(
  config: GatewayConfig,
  writeLog: WriteLog,
  { limits = usualLimits }: { readonly limits?: RelayLimits } = {},
): Gateway {
  let isDraining = false;
  const app = new Hono<{ Bindings: HttpBindings }>();
  app.use(async (c, next) => {
    await next();
    if (isDraining) c.res.headers.set("Connection", "close");
  });
  app.get("/-/health", (c) => (isDraining ? c.json({ status: "ending" }, 503) : c.json({ status: "ok" })));
  app.all("*", async (c) => {
    const { incoming } = c.env;
    const now = new Date();
    let requestBytes = 0;
    const onBytes = (bytes: number) => {
      requestBytes += bytes;
    };
    const request = { url: new URL(c.req.url), incoming, now, onBytes };
    const served = await serveUpload(request, { ...config, limits }).catch(bug);
    writeLog(recordOf(request, served, requestBytes));
    return served.response;
  });
  const listen = getRequestListener(app.fetch, { overrideGlobalObjects: false });
  return {
    listener: (incoming, outgoing) => void listen(incoming, outgoing),
    drain: () => {
      isDraining = true;
    },
  };
}

function recordOf(
  { url, incoming, now }: { readonly url: URL; readonly incoming: IncomingMessage; readonly now: Date },
  { response, ...told }: Served,
  requestBytes: number,
): GatewayRecord {
  return {
    log: "gateway",
    at: now.toISOString(),
    method: incoming.method ?? "",
    path: url.pathname,
    status: response.status,
    ...told,
    requestBytes,
    client: incoming.socket.remoteAddress ?? "",
    ms: Date.now() - now.getTime(),
  };
}

function bug(error: unknown): Served {
  const cause = error instanceof Error ? error.message : "unknown error";
  return { response: errorResponse({ code: "UNKNOWN", message: "internal error" }), outcome: "failed", cause };
}
