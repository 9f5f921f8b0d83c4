/** One message through a tap: raw headers in case and order, the same framing, early answers and aborts both ways. */
import http from "node:http";
import type { Socket } from "node:net";
import { loopback, maxHeaderBytes } from "../http-server.ts";
import type { OpenRequest } from "./seen.ts";

/** Writing it sends the headers at once. Not `flushHeaders`, which would send a byte above 0x7f as two. */
const nothing = Buffer.alloc(0);
/** Long enough for the headers to leave before the reset overtakes them. */
const cutAfterMs = 20;

/** The service's end of one client connection: they open and close together, as if the tap were not there. */
export type Connection = { readonly agent: http.Agent; readonly port: number; openExchanges: number };

export function connectionTo(port: number, client: Socket): Connection {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1, maxFreeSockets: 1 });
  client.once("close", () => agent.destroy());
  return { agent, port, openExchanges: 0 };
}

export type Exchange = {
  readonly request: http.IncomingMessage;
  readonly response: http.ServerResponse;
  readonly connection: Connection;
  readonly record: OpenRequest | null;
};

export function forward(exchange: Exchange, ending: "whole" | "cut after headers"): void {
  const { request, response, connection, record } = exchange;
  const startedAt = performance.now();
  connection.openExchanges += 1;
  const outgoing = http.request({
    host: loopback,
    port: connection.port,
    agent: connection.agent,
    method: request.method,
    path: request.url,
    headers: requestHeaders(request),
    maxHeaderSize: maxHeaderBytes,
  });
  outgoing.maxHeadersCount = 0;
  outgoing.write(nothing);

  request.on("data", (chunk: Buffer) => {
    if (record !== null) record.requestBytes += chunk.length;
  });
  request.pipe(outgoing);
  response.once("close", () => {
    connection.openExchanges -= 1;
    if (!response.writableFinished) outgoing.destroy();
  });
  outgoing.on("continue", () => response.writeContinue());
  outgoing.on("error", () => {
    // After an early answer the service may hang up on the rest of the upload; the answer still has to reach the client.
    if (response.headersSent) request.unpipe(outgoing).resume();
    else request.socket.destroy();
  });
  outgoing.on("socket", (socket) => closeTogether(socket, request.socket, connection));
  outgoing.on("response", (answer) => {
    if (record !== null) record.status = answer.statusCode ?? null;
    const finish = () => {
      if (record !== null) record.ms = Math.round(performance.now() - startedAt);
    };
    writeHeadAsReceived(answer, response);
    if (ending === "whole") passBody(answer, response, record, finish);
    else cut(answer, response, finish);
  });
}

/** Node adds a date, a connection line and chunked framing of its own, unless each is switched off. */
function writeHeadAsReceived(answer: http.IncomingMessage, response: http.ServerResponse): void {
  response.sendDate = false;
  response.removeHeader("connection");
  response.removeHeader("transfer-encoding");
  response.writeHead(answer.statusCode ?? 502, answer.statusMessage ?? "", answer.rawHeaders);
}

function passBody(
  answer: http.IncomingMessage,
  response: http.ServerResponse,
  record: OpenRequest | null,
  finish: () => void,
): void {
  answer.on("data", (chunk: Buffer) => {
    if (record !== null) record.responseBytes += chunk.length;
  });
  // Before `pipe`: whoever has the whole answer also finds it in the list.
  answer.on("end", finish);
  response.write(nothing);
  answer.pipe(response);
  answer.on("close", () => {
    if (!answer.complete) response.destroy();
  });
}

function cut(answer: http.IncomingMessage, response: http.ServerResponse, finish: () => void): void {
  answer.pause();
  response.flushHeaders();
  setTimeout(() => {
    finish();
    response.socket?.resetAndDestroy();
  }, cutAfterMs);
}

const tied = new WeakSet<Socket>();

function closeTogether(service: Socket, client: Socket, connection: Connection): void {
  if (tied.has(service)) return;
  tied.add(service);
  service.once("close", () => {
    // A busy one ends by its exchange: the answer may still be on the way to the client.
    if (connection.openExchanges === 0) client.end();
  });
}

/**
 * As received. Node's client would make a request without a body chunked, unless its length is said: only for the
 * methods that it expects a body of (RFC 9110 §8.6 asks senders for that line anyway).
 */
function requestHeaders(request: http.IncomingMessage): readonly string[] {
  const { headers, rawHeaders, method } = request;
  const framed = headers["content-length"] !== undefined || headers["transfer-encoding"] !== undefined;
  const expectsBody = method === "POST" || method === "PUT" || method === "PATCH";
  return framed || !expectsBody ? rawHeaders : [...rawHeaders, "Content-Length", "0"];
}
