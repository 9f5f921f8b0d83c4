/** One HTTP exchange whose bodies are streams, because a layer may have any size. */
import http from "node:http";
import https from "node:https";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { limitInterimAnswers } from "../../gateway/interim-answers.ts";
import { err, ok, type Result } from "../../lib/result.ts";

export type Sent = {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | Readable;
  /** We give up a connection on which no byte moves for this long. */
  readonly idleMs: number;
  /** When this signal is aborted, the exchange ends, even if the answer's body is still being read. */
  readonly signal: AbortSignal;
};

export type Received = {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  /** The reader must read the whole body or destroy it. */
  readonly body: Readable;
};

export type Connections = { readonly http: http.Agent; readonly https: https.Agent; readonly close: () => void };

export function openConnections(atOnce: number): Connections {
  const options = { keepAlive: true, maxSockets: atOnce };
  const agents = { http: new http.Agent(options), https: new https.Agent(options) };
  return {
    ...agents,
    close: () => {
      agents.http.destroy();
      agents.https.destroy();
    },
  };
}

/** The error says what failed, but does not name the URL, because a signed URL must not be printed. */
export async function exchange(
  { method, url, headers, body, idleMs, signal }: Sent,
  connections: Connections,
): Promise<Result<Received, string>> {
  const isSecure = url.protocol === "https:";
  const agent = isSecure ? connections.https : connections.http;
  const length = body instanceof Uint8Array ? { "Content-Length": String(body.byteLength) } : {};
  const request = (isSecure ? https : http).request(url, { method, agent, signal, headers: { ...length, ...headers } });
  limitInterimAnswers(request);
  request.setTimeout(idleMs, () => request.destroy(new Error(`nothing moved for ${idleMs / 1_000} s`)));
  const answered = new Promise<Result<Received, string>>((resolve) => {
    request.once("response", (answer) =>
      resolve(ok({ status: answer.statusCode ?? 0, headers: answer.headers, body: answer })),
    );
    request.on("error", (error) => resolve(err(reasonOf(error))));
    request.once("close", () => resolve(err("the connection broke off")));
  });
  if (body === undefined || body instanceof Uint8Array) {
    request.end(body);
    return answered;
  }
  // A registry may answer before it has read the whole body. So we return what comes first: the answer, or an error in sending the body.
  const piped = pipeline(body, request).then(
    () => answered,
    (error: Error) => err(reasonOf(error)),
  );
  return Promise.race([answered, piped]);
}

function reasonOf(error: Error): string {
  const { code } = error as NodeJS.ErrnoException;
  return code ?? error.message;
}

type Unread = { readonly kind: "too long" | "broken off"; readonly text: string };

export async function readBytes(body: Readable, maxBytes: number): Promise<Result<Uint8Array, Unread>> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      bytes += chunk.byteLength;
      if (bytes > maxBytes) return err({ kind: "too long", text: `the answer has more than ${maxBytes} bytes` });
      chunks.push(chunk);
    }
  } catch (error) {
    return err({ kind: "broken off", text: error instanceof Error ? reasonOf(error) : "the answer broke off" });
  }
  return ok(Buffer.concat(chunks));
}
