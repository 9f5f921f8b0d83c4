import type { Pod } from "../directory/directory.ts";
import type { FetchRequest } from "../net/fetch.ts";
import { announcedBytes, dropHopByHop, forwardedHeaders } from "../net/headers.ts";
import { formatEndpoint, type RegistryEndpoint } from "../oci/endpoint.ts";
import { withoutParameters } from "../oci/query.ts";
import { pushDeadlineMs, registryDeadlineMs } from "./deadlines.ts";
import { ownParameters } from "./push-location.ts";

/**
 * Headers that a client must not send to a Pod. Some contain a credential, but the edge has checked only the Bearer token. Some tell a registry who
 * and where the client is. Proxies send these headers, so a registry that trusts its proxy believes them. Others make some servers read another host,
 * path or method than the edge has decided on.
 */
const dropped = [
  ...["authorization", "cookie", "private-token", "job-token", "deploy-token", "x-api-key"],
  ...["x-real-ip", "x-client-ip", "true-client-ip", "client-ip", "x-cluster-client-ip", "fastly-client-ip"],
  // For a CGI program, the header `Proxy` becomes the variable HTTP_PROXY (CVE-2016-5385).
  ...["forwarded", "host", "x-host", "x-method-override", "proxy", "expect", "content-length"],
  // Proxies and CDNs answer 502 or 503 if a request looks like a loop. With these headers, a client could make a Pod look as if it were down.
  ...["max-forwards", "via", "cdn-loop", "fastly-ff"],
];
const droppedPrefixes = [
  ...["x-jfrog-", "x-zot-", "remote-", "x-remote-", "x-webauth-", "x-auth-", "x-authenticated-", "x-authentik-"],
  ...["ssl-client-", "x-ssl-", "x-goog-authenticated-", "x-goog-iap-", "x-amzn-oidc-", "x-ms-client-", "cf-"],
  ...["x-forwarded", "x-original-", "x-rewrite-", "x-http-", "x-envoy-"],
  // Envoy takes its time limit for a request from `grpc-timeout`.
  "grpc-",
];
/** A server behind a gateway interface (RFC 3875 §4.1.18) reads `X_Forwarded_Host` as `X-Forwarded-Host`, so a name with `_` is dropped too. */
const droppedForms = new RegExp(`^(?:${droppedPrefixes.join("|")})|_`);

/** Makes the Pod's request anew from the endpoint, with the Pod's own token and without anything that only the edge should see. */
export function podRequest(
  pod: Pod,
  endpoint: RegistryEndpoint,
  { jwt, request }: { readonly jwt: string | null; readonly request: Request },
): FetchRequest {
  const shorterMs = pushDeadlineMs(endpoint);
  // A DELETE in the OCI spec has no body. During a move it goes to two Pods, and a body could be sent only once.
  const bodyless = ["GET", "HEAD", "DELETE"].includes(request.method);
  const bodyBytes = bodyless ? 0 : announcedBytes(request.body, request.headers);
  return {
    url: pod.registry + formatEndpoint(withoutPin(endpoint)),
    method: endpoint.method,
    headers: podHeaders(request, jwt),
    body: bodyBytes === 0 ? null : request.body,
    bodyBytes,
    // A repeated request may begin a second upload. The registry removes the unused one after some days.
    isRepeatable: endpoint.kind === "upload-start" && bodyBytes === 0,
    deadlineMs: registryDeadlineMs(endpoint),
    ...(shorterMs === null ? {} : { shorterMs }),
  };
}

/**
 * Makes a read that shows whether a Pod's service is there. A service that is there answers quickly, with any status. The read contains nothing from a
 * client.
 */
export const pingRequest = (pod: Pod, service: "registry" | "token"): FetchRequest =>
  pingOf(service === "registry" ? `${pod.registry}${formatEndpoint(base)}` : pod.token);

export const gatewayPing = ({ url }: NonNullable<Pod["gateway"]>): FetchRequest => pingOf(`${url}/-/health`);

const pingOf = (url: string): FetchRequest => ({
  url,
  method: "GET",
  headers: new Headers({ "Accept-Encoding": "identity" }),
  body: null,
  bodyBytes: 0,
  deadlineMs: registryDeadlineMs(base),
});

const base = { kind: "base", method: "GET", query: "" } as const;

function podHeaders(request: Request, jwt: string | null): Headers {
  const headers = new Headers(request.headers);
  dropHopByHop(headers, (name) => dropped.includes(name) || droppedForms.test(name));
  if (isMisread(headers.get("Content-Type"))) headers.set("Content-Type", "application/octet-stream");
  if (jwt !== null) headers.set("Authorization", `Bearer ${jwt}`);
  for (const [name, value] of Object.entries(forwardedHeaders(request))) headers.set(name, value);
  // Without this header, the platform would ask for an encoded answer, but a digest is computed over the unencoded bytes.
  headers.set("Accept-Encoding", "identity");
  return headers;
}

/**
 * Whether the type may make a registry or a proxy read the request in another way than the edge.
 * - gRPC: Envoy answers its own errors with 200, and a 200 may count as proof of a blob, or as acceptance of a token.
 * - A form: registries also read parameters from a form in the body, and prefer them to those of the query (distribution, `FormValue`). So a Pod
 *   could see another `mount` and `from` than the edge. No endpoint takes a form.
 * - Characters outside ASCII: parsers may read them as spaces or as other letters, and then see a form (Go's takes U+0085 for a space, and U+0130 for
 *   an upper-case i).
 */
const isMisread = (contentType: string | null): boolean =>
  /^\s*(application\/(x-www-form-urlencoded|grpc)|multipart\/)|[^\t -~]/i.test(contentType ?? "");

const withoutPin = (endpoint: RegistryEndpoint): RegistryEndpoint =>
  endpoint.kind === "upload" ? { ...endpoint, query: withoutParameters(endpoint.query, ownParameters) } : endpoint;
