import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";

/** A whole answer as a value: every body of these services is small, but for an object's bytes, which toy-storage streams itself. */
export type Reply = {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
};

/** An answer to HEAD has the Content-Length that GET would have, and no body (RFC 9110 §9.3.2). */
export function send(response: ServerResponse, { status, headers, body }: Reply): void {
  const bytes = Buffer.from(body ?? "");
  // RFC 9110 §8.6: no Content-Length in a 204 or 304.
  const length = status === 204 || status === 304 ? {} : { "Content-Length": String(bytes.length) };
  response.writeHead(status, { ...length, ...headers });
  response.end(bytes);
}

export const json = (status: number, value: unknown, headers: Readonly<Record<string, string>> = {}): Reply => ({
  status,
  headers: { "Content-Type": "application/json", ...headers },
  body: `${JSON.stringify(value)}\n`,
});

/** A listener whose bugs end in a 500, or in a cut connection once the answer has begun, never in an unhandled rejection. */
export function listener(
  handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
): RequestListener {
  return (request, response) => {
    handle(request, response).catch((reason: unknown) => {
      // The client is gone: nobody is left to tell.
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

export type Target = { readonly path: string; readonly query: URLSearchParams };

/** The path is decoded once, as Go's net/http does before it routes; null when its escapes are malformed. */
export function parseTarget(request: IncomingMessage): Target | null {
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

/** The origin that a client dialled, as distribution reads it: `Forwarded` (RFC 7239), else `X-Forwarded-*`, else Host. */
export function publicOrigin({ headers }: IncomingMessage): string {
  const forwarded = first(headers.forwarded);
  const pair = (key: string) => (forwarded === null ? null : new RegExp(`\\b${key}="?([^;"]+)`, "i").exec(forwarded));
  const proto = forwarded === null ? first(headers["x-forwarded-proto"]) : pair("proto")?.[1];
  const host = forwarded === null ? first(headers["x-forwarded-host"]) : pair("host")?.[1];
  return `${proto ?? "http"}://${host ?? headers.host ?? ""}`;
}
