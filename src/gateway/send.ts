import http from "node:http";
import https from "node:https";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { limitInterimAnswers } from "./interim-answers.ts";

type Request = {
  readonly method: "GET" | "HEAD" | "POST" | "PATCH" | "PUT" | "DELETE";
  readonly headers: Readonly<Record<string, string>>;
  /** The body is sent in chunks, and no faster than the server takes it. */
  readonly body?: AsyncIterable<Uint8Array>;
  /** Ends the request. If the answer is still being read, the reading ends too. */
  readonly signal: AbortSignal;
};

/** Sends a request, and follows no redirect. Returns the answer when its headers have arrived, or null if there is no answer. */
export function send(url: string, { method, headers, body, signal }: Request): Promise<http.IncomingMessage | null> {
  const { promise, resolve } = Promise.withResolvers<http.IncomingMessage | null>();
  // Node's `fetch` would throw outside of any call if a server closes its connection before the answer is read (undici, `assert(!this.paused)`). This
  // would end the program with all its uploads.
  const { request } = url.startsWith("https:") ? https : http;
  const framing = body === undefined ? { "Content-Length": "0" } : { "Transfer-Encoding": "chunked" };
  const outgoing = request(url, {
    method,
    headers: {
      // Node sends no User-Agent by itself, and many firewalls refuse a request without one.
      "User-Agent": "registry-edge",
      ...headers,
      ...(method === "GET" || method === "HEAD" ? {} : framing),
      // As in `relay`: with `Connection: close`, the answer of a server that does not read the whole body may be lost.
      Connection: "keep-alive",
    },
    // Each request has a connection of its own. A server may close a kept connection just when it is used again, and a body cannot be sent twice.
    agent: false,
    signal,
  });
  outgoing.once("response", (answer) => {
    // Without this listener, an answer that breaks before anything reads it would end the program. A later reader gets the error too.
    answer.on("error", () => {});
    resolve(answer);
  });
  outgoing.on("error", () => resolve(null));
  // After a 101 with `Upgrade`, Node closes the connection and reports neither an answer nor an error.
  outgoing.once("close", () => resolve(null));
  limitInterimAnswers(outgoing);
  if (body === undefined) outgoing.end();
  else void pipeline(Readable.from(body), outgoing).catch(() => resolve(null));
  return promise;
}
