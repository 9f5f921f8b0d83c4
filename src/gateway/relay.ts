import http from "node:http";
import https from "node:https";
import { err, ok, type Result } from "../lib/result.ts";
import { limitInterimAnswers } from "./interim-answers.ts";
import { passJoined } from "./pass-joined.ts";

/** Why a request got no answer from the registry. `client-silent`: the client is there, but sends no more of its body. `text` is for the log. */
export type RelayFailure = {
  readonly reason: "client-left" | "client-silent" | "unreachable" | "silent";
  readonly text: string;
};

/** `body` is null if it is longer than 64 KiB, breaks off or is late. */
export type RegistryAnswer = {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: Buffer | null;
};

export type RelayLimits = {
  /** The connection is cut if no byte of the request's body moves for this long. A body that moves is never cut. */
  readonly stallMs: number;
  /** The longest time from the end of the request's body to the answer's headers. A registry may first copy the blob and compute its digest. */
  readonly answerMs: number;
};

type Relayed = {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly limits: RelayLimits;
  readonly onBytes: (bytes: number) => void;
};

const MAX_ANSWER_BYTES = 64 * 1024;
const answerBodyMs = 10_000;

/**
 * Streams the client's request to the registry, at the pace of the slower side. If the body breaks off, the connection to the registry is cut, so the
 * registry sees that the body is not complete.
 */
export function relay(
  incoming: http.IncomingMessage,
  { url, headers, limits, onBytes }: Relayed,
): Promise<Result<RegistryAnswer, RelayFailure>> {
  const { promise, resolve } = Promise.withResolvers<Result<RegistryAnswer, RelayFailure>>();
  const { request } = url.protocol === "https:" ? https : http;
  const outgoing = request(url, {
    method: incoming.method,
    // Node would send `Connection: close`. A registry that answers before the body has ended would then close at once, and its answer could be lost.
    headers: { ...headers, ...framing(incoming), Connection: "keep-alive" },
    // Each request has a connection of its own. A registry may close a kept connection just when it is used again, and a body cannot be sent twice.
    agent: false,
  });
  let isAnswered = false;
  const timer = setTimeout(() => giveUp(stallOf(incoming, outgoing, limits)), limits.stallMs);
  const giveUp = (failure: RelayFailure, cut = true) => {
    clearTimeout(timer);
    stopPassing();
    if (cut) outgoing.destroy();
    resolve(err(failure));
  };
  const onClose = () => {
    // After the whole request has arrived, the registry may finish it, even if the client does not wait for the answer.
    if (!incoming.complete && !isAnswered)
      giveUp({ reason: "client-left", text: "the client broke off its request's body" });
  };
  incoming.once("close", onClose).on("data", (piece: Buffer) => {
    onBytes(piece.length);
    timer.refresh();
  });
  // Node also reports a broken connection by `error`. There is nothing to do, because `onClose` handles the break.
  incoming.on("error", () => {});
  outgoing.on("error", (error) => {
    if (!isAnswered) giveUp({ reason: "unreachable", text: error.message });
  });
  // After a 101 with `Upgrade`, Node closes the connection and reports neither an answer nor an error.
  outgoing.once("close", () => {
    if (!isAnswered) giveUp({ reason: "unreachable", text: "the registry closed the connection without an answer" });
  });
  limitInterimAnswers(outgoing);
  outgoing.once("finish", () => {
    clearTimeout(timer);
    const late: RelayFailure = { reason: "silent", text: `no answer within ${limits.answerMs} ms` };
    const waiting = setTimeout(() => {
      giveUp(late, false);
      leave(outgoing, limits);
    }, limits.answerMs);
    void promise.finally(() => clearTimeout(waiting));
  });
  outgoing.once("response", (answer) => {
    isAnswered = true;
    clearTimeout(timer);
    stopPassing();
    void readAnswer(answer).then((read) => {
      // If the registry answers before the body has ended, it refuses the request. So the rest of the body must not be sent.
      if (!outgoing.writableEnded) outgoing.destroy();
      resolve(ok(read));
    });
  });
  // We send the headers without waiting for the body: the registry checks the token when the headers come, and the token may expire within a minute.
  outgoing.flushHeaders();
  const stopPassing = passJoined(incoming, outgoing);
  return promise;
}

/**
 * Leaves the connection open for another `answerMs`, so that the registry can finish its work. Meanwhile, the connection does not keep the program
 * from ending.
 */
function leave(outgoing: http.ClientRequest, { answerMs }: RelayLimits): void {
  outgoing.socket?.unref();
  setTimeout(() => outgoing.destroy(), answerMs).unref();
}

/**
 * Returns the header that says how long the body is. A PATCH or PUT without a body gets the length 0, because Node would otherwise announce a chunked
 * body.
 */
function framing({ headers, method }: http.IncomingMessage): Readonly<Record<string, string>> {
  if (headers["transfer-encoding"] !== undefined) return { "Transfer-Encoding": "chunked" };
  const length = headers["content-length"] ?? (method === "PATCH" || method === "PUT" ? "0" : null);
  return length === null ? {} : { "Content-Length": length };
}

/** Says which side does not move. It is the registry if the whole body has come, or if more of the body waits for the registry to take it. */
function stallOf(
  { complete }: http.IncomingMessage,
  { writableNeedDrain }: http.ClientRequest,
  { stallMs }: RelayLimits,
): RelayFailure {
  return complete || writableNeedDrain
    ? { reason: "silent", text: `the registry took nothing of the request's body for ${stallMs} ms` }
    : { reason: "client-silent", text: `the client sent nothing of its request's body for ${stallMs} ms` };
}

async function readAnswer(answer: http.IncomingMessage): Promise<RegistryAnswer> {
  const head = { status: answer.statusCode ?? 0, headers: answer.headers };
  const chunks: Buffer[] = [];
  let bytes = 0;
  const timer = setTimeout(() => answer.destroy(), answerBodyMs);
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > MAX_ANSWER_BYTES) return { ...head, body: null };
      chunks.push(chunk);
    }
    return { ...head, body: Buffer.concat(chunks) };
  } catch {
    return { ...head, body: null };
  } finally {
    clearTimeout(timer);
  }
}
