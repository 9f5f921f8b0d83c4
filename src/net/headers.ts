/** RFC 9110 §7.6.1: they belong to one connection, whatever else `Connection` names beside them. */
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

/** What a Pod's services are told of the request that reached the edge. Set, never appended: they trust the first value. */
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
