import type { Pod } from "../directory/directory.ts";
import type { FetchRequest } from "../net/fetch.ts";
import { announcedBytes, forwardedHeaders, withoutHopByHop } from "../net/headers.ts";
import { formatEndpoint, type RegistryEndpoint } from "../oci/endpoint.ts";
import { withoutParameters } from "../oci/query.ts";
import { isRead } from "../oci/scope.ts";
import { pinParameter } from "./upload-pin.ts";

/**
 * What clients must not tell a Pod: other kinds of credentials, what only a proxy in between may set, and another path or method than the one that the
 * edge has decided on.
 */
const dropped = [
  "authorization",
  "cookie",
  "expect",
  "forwarded",
  "host",
  "x-real-ip",
  "content-length",
  "x-method-override",
];
const droppedPrefixes = ["x-forwarded-", "x-original-", "x-rewrite-", "x-http-method", "cf-", "x-zot-"];

/**
 * From the end of the request's body to the answer's headers. Some registries read every tag or name before they list the first. A write may take as long
 * as a registry needs for a blob's digest or a manifest's tags; its deadline ends only the client's wait.
 */
const deadlinesMs = { read: 10_000, manifest: 30_000, list: 120_000, write: 300_000 } as const;

/** Formats the endpoint again for the Pod, with the Pod's own token and without anything that only the edge should see. */
export function podRequest(
  pod: Pod,
  endpoint: RegistryEndpoint,
  { jwt, request }: { readonly jwt: string | null; readonly request: Request },
): FetchRequest {
  const bodyless = request.method === "GET" || request.method === "HEAD";
  return {
    url: pod.registry + formatEndpoint(withoutPin(endpoint)),
    method: endpoint.method,
    headers: podHeaders(request, jwt),
    body: bodyless ? null : request.body,
    bodyBytes: bodyless ? 0 : announcedBytes(request.body, request.headers),
    deadlineMs: deadlineMs(endpoint),
  };
}

function podHeaders(request: Request, jwt: string | null): Headers {
  const headers = withoutHopByHop(request.headers);
  for (const name of [...headers.keys()]) {
    const isDropped = dropped.includes(name) || droppedPrefixes.some((prefix) => name.startsWith(prefix));
    // A server behind a gateway interface (RFC 3875 §4.1.18) reads `X_Forwarded_Host` as `X-Forwarded-Host`.
    if (isDropped || name.includes("_")) headers.delete(name);
  }
  if (jwt !== null) headers.set("Authorization", `Bearer ${jwt}`);
  for (const [name, value] of Object.entries(forwardedHeaders(request))) headers.set(name, value);
  // The platform would ask for an encoding of its own, but a digest is computed over the unencoded bytes.
  headers.set("Accept-Encoding", "identity");
  return headers;
}

const withoutPin = (endpoint: RegistryEndpoint): RegistryEndpoint =>
  endpoint.kind === "upload" ? { ...endpoint, query: withoutParameters(endpoint.query, [pinParameter]) } : endpoint;

function deadlineMs({ kind, method }: RegistryEndpoint): number {
  if (!isRead(method)) return deadlinesMs.write;
  if (kind === "manifest") return deadlinesMs.manifest;
  const isList = ["catalog", "tags", "referrers"].includes(kind) || kind.startsWith("gitlab-");
  return isList ? deadlinesMs.list : deadlinesMs.read;
}
