import type { Pod } from "../directory/directory.ts";
import type { FetchRequest } from "../net/fetch-request.ts";
import { forwardedHeaders, withoutHopByHop } from "../net/headers.ts";
import { formatEndpoint, type RegistryEndpoint } from "../oci/endpoint.ts";
import { withoutParameters } from "../oci/query.ts";
import { announcedBytes } from "../telemetry/record.ts";
import { pinParameter } from "./upload-pin.ts";

/**
 * What clients may not say to a Pod: credentials of other kinds, whatever a proxy in between is believed to have set, and another path or
 * method than the one that the edge has judged.
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

/** From the end of the request's body to the answer's headers. */
const deadlinesMs = { read: 10_000, manifest: 60_000, blob: 300_000 } as const;

/** The endpoint, formatted again for the Pod, with the Pod's own token and nothing that is meant for the edge alone. */
export function podRequest(pod: Pod, endpoint: RegistryEndpoint, jwt: string | null, request: Request): FetchRequest {
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
    // What is behind a gateway interface (RFC 3875 §4.1.18) reads `X_Forwarded_Host` as `X-Forwarded-Host`.
    if (isDropped || name.includes("_")) headers.delete(name);
  }
  if (jwt !== null) headers.set("Authorization", `Bearer ${jwt}`);
  for (const [name, value] of Object.entries(forwardedHeaders(request))) headers.set(name, value);
  // The platform would ask for an encoding of its own, and digests are of the bytes as they are.
  headers.set("Accept-Encoding", "identity");
  return headers;
}

const withoutPin = (endpoint: RegistryEndpoint): RegistryEndpoint =>
  endpoint.kind === "upload" ? { ...endpoint, query: withoutParameters(endpoint.query, [pinParameter]) } : endpoint;

function deadlineMs(endpoint: RegistryEndpoint): number {
  if (endpoint.method === "GET" || endpoint.method === "HEAD") return deadlinesMs.read;
  const movesBlob = endpoint.kind === "upload" || (endpoint.kind === "upload-start" && endpoint.digest !== null);
  if (movesBlob && endpoint.method !== "DELETE") return deadlinesMs.blob;
  return endpoint.kind === "upload-start" ? deadlinesMs.read : deadlinesMs.manifest;
}
