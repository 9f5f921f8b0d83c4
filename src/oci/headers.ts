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

export function withoutHopByHop(headers: Headers): Headers {
  const kept = new Headers(headers);
  const named = (headers.get("Connection") ?? "").split(",").map((name) => name.trim().toLowerCase());
  for (const name of [...hopByHop, ...named]) if (/^[a-z0-9-]+$/.test(name)) kept.delete(name);
  return kept;
}
