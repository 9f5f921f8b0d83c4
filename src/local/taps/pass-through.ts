/** Passes one request through a tap. The headers' case and order, the framing, early answers and aborts from either side stay as they are. */
import http from "node:http";
import type { Socket } from "node:net";
import { maxHeaderBytes } from "../http-server.ts";
import { loopback } from "../ports.ts";
import type { OpenRequest } from "./seen-requests.ts";

/** Writing this empty buffer makes Node send the headers at once. `flushHeaders` does so too, but turns each byte above 0x7f into two bytes. */
const nothing = Buffer.alloc(0);
/** We wait this long between the headers and a reset, because an earlier reset would overtake the headers. */
const cutAfterMs = 20;

/** A tap's connection to the service. There is one for each connection of a client, and both connections end together, as if there were no tap. */
type Connection = {
  readonly agent: http.Agent;
  readonly port: number;
  openExchanges: number;
  /** The newest socket to the service. When this socket closes and no exchange is open, we close the client's socket too. */
  tied: Socket | null;
};

export function connectionsTo(port: number): (client: Socket) => Connection {
  const connections = new WeakMap<Socket, Connection>();
  return (client) => {
    const known = connections.get(client);
    if (known !== undefined) return known;
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1, maxFreeSockets: 1 });
    client.once("close", () => agent.destroy());
    const connection = { agent, port, openExchanges: 0, tied: null };
    connections.set(client, connection);
    return connection;
  };
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
    // If the service has answered early, it may hang up before the upload ends. Its answer must still reach the client.
    if (response.headersSent) request.unpipe(outgoing).resume();
    else request.socket.destroy();
  });
  outgoing.on("socket", (socket) => closeTogether(socket, request.socket, connection));
  outgoing.on("response", (answer) => {
    if (request.method === "HEAD") keepOpenAfterHead(outgoing, answer);
    // If the body was too large, the server of body-limit.ts has already answered the client.
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

/**
 * If an answer to HEAD has no length, Node expects it to end with the service's connection, and would close this connection. `closeTogether` would
 * then end the edge's connection, and a write that the edge is just sending would be lost.
 */
function keepOpenAfterHead(outgoing: http.ClientRequest, { headers, httpVersion }: http.IncomingMessage): void {
  const isLast = httpVersion !== "1.1" || /\bclose\b/i.test(headers.connection ?? "");
  if (!isLast) outgoing.shouldKeepAlive = true;
}

/** Switches off the Date and Connection headers and the chunked framing that Node would add. */
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
  // Our listener comes before that of `pipe`, so the tap's list shows the request as ended before the client has the whole answer.
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
    // An open exchange may still have an answer on the way to the client. If we ended the connection now, the answer would be cut.
    if (connection.openExchanges === 0) client.end();
  });
}

/**
 * Returns the headers as received. A POST, PUT or PATCH without a body gets a length of 0 (RFC 9110 §8.6), because Node's client would otherwise make
 * the request chunked.
 */
function requestHeaders(request: http.IncomingMessage): readonly string[] {
  const { headers, rawHeaders, method } = request;
  const framed = headers["content-length"] !== undefined || headers["transfer-encoding"] !== undefined;
  const expectsBody = method === "POST" || method === "PUT" || method === "PATCH";
  return framed || !expectsBody ? rawHeaders : [...rawHeaders, "Content-Length", "0"];
}
