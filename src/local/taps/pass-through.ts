/** Passes one request through a tap and keeps the case and order of headers, framing, early answers, and aborts from both sides. */
import http from "node:http";
import type { Socket } from "node:net";
import { maxHeaderBytes } from "../http-server.ts";
import { loopback } from "../ports.ts";
import type { OpenRequest } from "./seen-requests.ts";

/** To write an empty buffer sends the headers at once. `flushHeaders` also does so, but sends each byte above 0x7f as two bytes. */
const nothing = Buffer.alloc(0);
/** The headers leave within this time. An earlier reset would overtake them. */
const cutAfterMs = 20;

/** The tap's connection to the service, for one client connection. Both open and close together, as if the tap were not there. */
export type Connection = {
  readonly agent: http.Agent;
  readonly port: number;
  openExchanges: number;
  /** The socket to the service that was last tied to the client's socket. */
  tied: Socket | null;
};

export function connectionTo(port: number, client: Socket): Connection {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1, maxFreeSockets: 1 });
  client.once("close", () => agent.destroy());
  return { agent, port, openExchanges: 0, tied: null };
}

export type Exchange = {
  readonly request: http.IncomingMessage;
  readonly response: http.ServerResponse;
  readonly connection: Connection;
  readonly record: OpenRequest | null;
};

export function passThrough(exchange: Exchange, ending: "whole" | "cut after headers"): void {
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
    // After an early answer the service may hang up before the upload ends; its answer still has to reach the client.
    if (response.headersSent) request.unpipe(outgoing).resume();
    else request.socket.destroy();
  });
  outgoing.on("socket", (socket) => closeTogether(socket, request.socket, connection));
  outgoing.on("response", (answer) => {
    // The body limit in front may have answered already, because the body was too large.
    if (response.headersSent) {
      answer.resume();
      return;
    }
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
  // This comes before `pipe`, so that the list shows the answer as ended once a client has the whole answer.
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

function closeTogether(service: Socket, client: Socket, connection: Connection): void {
  if (connection.tied === service) return;
  connection.tied = service;
  service.once("close", () => {
    // While an exchange is open, its answer may still be on the way to the client; the exchange then ends the connection.
    if (connection.openExchanges === 0) client.end();
  });
}

/**
 * Returns the headers as received. Node's client would send an empty request without a length as chunked, so a length of 0 is
 * added for methods that have a body (RFC 9110 §8.6 asks senders for that line anyway).
 */
function requestHeaders(request: http.IncomingMessage): readonly string[] {
  const { headers, rawHeaders, method } = request;
  const framed = headers["content-length"] !== undefined || headers["transfer-encoding"] !== undefined;
  const expectsBody = method === "POST" || method === "PUT" || method === "PATCH";
  return framed || !expectsBody ? rawHeaders : [...rawHeaders, "Content-Length", "0"];
}
