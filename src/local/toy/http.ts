import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";

/** A whole answer with a small body. The toy storage streams its objects, and does not use this type for them. */
export type ToyReply = {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
};

/** An answer to HEAD has no body, but it has the same Content-Length as the answer to GET (RFC 9110 §9.3.2). */
export function send(response: ServerResponse, { status, headers, body }: ToyReply): void {
  const bytes = Buffer.from(body ?? "");
  // A 204 or 304 must not have a Content-Length (RFC 9110 §8.6).
  const length = status === 204 || status === 304 ? {} : { "Content-Length": String(bytes.length) };
  response.writeHead(status, { ...length, ...headers });
  response.end(bytes);
}

export const json = (status: number, value: unknown, headers: Readonly<Record<string, string>> = {}): ToyReply => ({
  status,
  headers: { "Content-Type": "application/json", ...headers },
  body: `${JSON.stringify(value)}\n`,
});

/** Returns a listener that calls `handle`. If `handle` throws, the client gets 500 or, in the middle of an answer, a broken connection. */
export function listener(
  handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
): RequestListener {
  return (request, response) => {
    handle(request, response).catch((reason: unknown) => {
      // The client has left, so an answer would not reach it.
      if (request.destroyed && !request.complete) return;
      if (response.headersSent) {
        response.destroy();
        return;
      }
      console.error(reason);
      send(response, json(500, { errors: [{ code: "UNKNOWN", message: "unknown error" }] }));
    });
  };
}

type RequestTarget = { readonly path: string; readonly query: URLSearchParams };

/** Decodes the path once, as Go's net/http does before it routes. Returns null if a percent-escape is malformed. */
export function parseTarget(request: IncomingMessage): RequestTarget | null {
  const [path = "", ...query] = (request.url ?? "").split("?");
  try {
    return { path: decodeURIComponent(path), query: new URLSearchParams(query.join("?")) };
  } catch {
    return null;
  }
}

const first = (value: string | readonly string[] | undefined): string | null => {
  const text = (typeof value === "string" ? value : value?.[0])?.split(",")[0]?.trim();
  return text === undefined || text === "" ? null : text;
};

/** Returns the origin that the client called. As distribution does, it tries `Forwarded` (RFC 7239) first, then `X-Forwarded-*`, then Host. */
export function publicOrigin({ headers }: IncomingMessage): string {
  const forwarded = first(headers.forwarded);
  const pair = (key: string) => (forwarded === null ? null : new RegExp(`\\b${key}="?([^;"]+)`, "i").exec(forwarded));
  const proto = forwarded === null ? first(headers["x-forwarded-proto"]) : pair("proto")?.[1];
  const host = forwarded === null ? first(headers["x-forwarded-host"]) : pair("host")?.[1];
  return `${proto ?? "http"}://${host ?? headers.host ?? ""}`;
}
