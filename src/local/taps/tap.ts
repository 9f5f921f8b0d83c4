/**
 * A tap: an HTTP server in front of one service of a Pod. It passes every message on unchanged, remembers each request,
 * and can play the faults that a registry, a token service or a storage shows in production.
 */
import type http from "node:http";
import { closeNow, createHttpServer, listen, listenAgain } from "../http-server.ts";
import { type Fault, playFault } from "./faults.ts";
import { connectionsTo } from "./pass-through.ts";
import { SeenList, type SeenRequest } from "./seen-requests.ts";

export type Tap = {
  readonly url: string;
  seen(): readonly SeenRequest[];
  clearSeen(): void;
  /** Resolves when the fault is in force. */
  setFault(fault: Fault): Promise<void>;
  stop(): Promise<void>;
};

/** `hostname` is the name that clients use. The tap listens on 127.0.0.1 for both names. */
export async function startTap(targetPort: number, hostname: "127.0.0.1" | "localhost"): Promise<Tap> {
  const seen = new SeenList();
  const connectionOf = connectionsTo(targetPort);
  let fault: Fault = { mode: "none" };

  const onRequest: http.RequestListener = (request, response) => {
    const path = request.url ?? "/";
    if (path === "/-/seen" && (request.method === "GET" || request.method === "DELETE")) {
      answerSeen(seen, request, response);
      return;
    }
    const record = path.startsWith("/-/") ? null : seen.begin(request.method ?? "", path, authorizationOf(request));
    playFault(fault, { request, response, connection: connectionOf(request.socket), record });
  };
  const server = createHttpServer(onRequest).on("checkContinue", onRequest);
  const port = await listen(server);

  const change = async (next: Fault): Promise<void> => {
    fault = next;
    if (next.mode === "refuse") await closeNow(server);
    else if (!server.listening) await listenAgain(server, port);
  };
  let changes = Promise.resolve();
  return {
    url: `http://${hostname}:${port}`,
    seen: () => seen.list(),
    clearSeen: () => seen.clear(),
    setFault: (next) => {
      const done = changes.then(() => change(next));
      changes = done.catch(() => {});
      return done;
    },
    stop: () => closeNow(server),
  };
}

/** Returns all Authorization headers as they were sent, because Node's `headers` would hide all but the first. */
function authorizationOf(request: http.IncomingMessage): string | undefined {
  return request.headersDistinct["authorization"]?.join(", ");
}

function answerSeen(seen: SeenList, request: http.IncomingMessage, response: http.ServerResponse): void {
  request.resume();
  if (request.method === "DELETE") {
    seen.clear();
    response.writeHead(204).end();
    return;
  }
  const body = Buffer.from(JSON.stringify(seen.list()));
  response.writeHead(200, { "Content-Type": "application/json", "Content-Length": body.length }).end(body);
}
