/** RFC 9110 §7.6.1: these belong to one connection, as do the headers that `Connection` names. */
const hopByHop = [
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
];

/** What a Pod's services are told of the request that reached the edge. They are set, not appended, because services trust the first value. */
export function forwardedHeaders(request: Request): Readonly<Record<string, string>> {
  const { host, protocol } = new URL(request.url);
  const client = request.headers.get("CF-Connecting-IP");
  return {
    "X-Forwarded-Host": host,
    "X-Forwarded-Proto": protocol.slice(0, -1),
    ...(client === null ? {} : { "X-Forwarded-For": client }),
  };
}

export function withoutHopByHop(headers: Headers): Headers {
  const kept = new Headers(headers);
  const named = (headers.get("Connection") ?? "").split(",").map((name) => name.trim().toLowerCase());
  for (const name of [...hopByHop, ...named]) if (/^[a-z0-9-]+$/.test(name)) kept.delete(name);
  return kept;
}

/** The announced length of a body in bytes: 0 if there is no body, null if its length was not announced (chunked). */
export function announcedBytes(body: ReadableStream | null, headers: Headers): number | null {
  if (body === null) return 0;
  const length = headers.get("Content-Length");
  const bytes = length !== null && /^\d+$/.test(length) ? Number(length) : Number.NaN;
  return Number.isSafeInteger(bytes) ? bytes : null;
}
