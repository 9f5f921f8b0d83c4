import type { Pod } from "../directory/directory.ts";
import type { FetchRequest } from "../net/fetch.ts";
import { announcedBytes, dropHopByHop, forwardedHeaders } from "../net/headers.ts";
import { formatEndpoint, type RegistryEndpoint } from "../oci/endpoint.ts";
import { withoutParameters } from "../oci/query.ts";
import { pushDeadlineMs, registryDeadlineMs } from "./deadlines.ts";
import { ownParameters } from "./push-location.ts";

/**
 * Headers that the edge does not pass from a client to a Pod, for three reasons. Some contain a credential, but the edge has checked only the Bearer
 * token. Some say who and where the client is, and a registry believes them, because usually its own proxy sets these headers. Some make servers
 * read another host, path or method than the edge has checked.
 */
const dropped = [
  ...["authorization", "cookie", "private-token", "job-token", "deploy-token", "x-api-key"],
  ...["x-real-ip", "x-client-ip", "true-client-ip", "client-ip", "x-cluster-client-ip", "fastly-client-ip"],
  // A CGI program gets the header `Proxy` as the variable HTTP_PROXY, and would send its own requests to that address (CVE-2016-5385).
  ...["forwarded", "host", "x-host", "x-method-override", "proxy", "expect", "content-length"],
  // Proxies and CDNs answer 502 or 503 if these headers look like a loop. So a client could make a Pod look as if it were down.
  ...["max-forwards", "via", "cdn-loop", "fastly-ff"],
];
const droppedPrefixes = [
  ...["x-jfrog-", "x-zot-", "remote-", "x-remote-", "x-webauth-", "x-auth-", "x-authenticated-", "x-authentik-"],
  ...["ssl-client-", "x-ssl-", "x-goog-authenticated-", "x-goog-iap-", "x-amzn-oidc-", "x-ms-client-", "cf-"],
  ...["x-forwarded", "x-original-", "x-rewrite-", "x-http-", "x-envoy-"],
  // With the header `grpc-timeout`, a client could choose the time limit that Envoy sets for the request.
  "grpc-",
];
/**
 * CGI and similar interfaces (RFC 3875 §4.1.18) give `X_Forwarded_Host` and `X-Forwarded-Host` one name. So each header with `_` in its name is
 * dropped too.
 */
const droppedForms = new RegExp(`^(?:${droppedPrefixes.join("|")})|_`);

/** `jwt` is the part of the client's token that is for this Pod. */
export function podRequest(
  pod: Pod,
  endpoint: RegistryEndpoint,
  { jwt, request }: { readonly jwt: string | null; readonly request: Request },
): FetchRequest {
  const shorterMs = pushDeadlineMs(endpoint);
  // In the OCI spec, a DELETE has no body. During a move the edge sends a DELETE to two Pods, and could send a body to only one of them.
  const bodyless = ["GET", "HEAD", "DELETE"].includes(request.method);
  const bodyBytes = bodyless ? 0 : announcedBytes(request.body, request.headers);
  return {
    // The URL is formatted from the endpoint, so that edge and Pod read the same name.
    url: pod.registry + formatEndpoint(withoutPin(endpoint)),
    method: endpoint.method,
    headers: podHeaders(request, jwt),
    body: bodyBytes === 0 ? null : request.body,
    bodyBytes,
    // If the edge repeats this request, the Pod may begin two uploads. This does no harm, because registries remove unused uploads after some days.
    isRepeatable: endpoint.kind === "upload-start" && bodyBytes === 0,
    deadlineMs: registryDeadlineMs(endpoint),
    ...(shorterMs === null ? {} : { shorterMs }),
  };
}

/** A running service answers this request at once, perhaps with 401. The request contains nothing from a client. */
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
  // Without this header, the Workers platform would ask for a compressed answer. But a digest is computed over the uncompressed bytes.
  headers.set("Accept-Encoding", "identity");
  return headers;
}

/**
 * Whether a registry or a proxy may read a request with this content type in another way than the edge.
 * - gRPC: Envoy's own errors for such a request have status 200. The edge could take a 200 for the proof of a blob, or for the acceptance of a token.
 * - A form: registries also read parameters from a form in the body, and prefer them to those of the query (distribution, `FormValue`). So a Pod
 *   could see another `mount` and `from` than the edge. No endpoint takes a form.
 * - Characters outside ASCII: parsers may read them as spaces or as other letters, and then see a form. Go takes U+0085 for a space, and U+0130 for
 *   an upper-case i.
 */
const isMisread = (contentType: string | null): boolean =>
  /^\s*(application\/(x-www-form-urlencoded|grpc)|multipart\/)|[^\t -~]/i.test(contentType ?? "");

const withoutPin = (endpoint: RegistryEndpoint): RegistryEndpoint =>
  endpoint.kind === "upload" ? { ...endpoint, query: withoutParameters(endpoint.query, ownParameters) } : endpoint;
