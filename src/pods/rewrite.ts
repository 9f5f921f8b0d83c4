import type { Pod } from "../directory/directory.ts";
import type { EdgeKeys } from "../lib/derive-key.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { dropHopByHop } from "../net/headers.ts";
import type { RegistryEndpoint } from "../oci/endpoint.ts";
import type { RepositoryName } from "../oci/repository-name.ts";
import type { Refusal } from "../refusal.ts";
import { type PushGateway, pushLocation } from "./push-location.ts";
import { readLocation, rewriteLink } from "./targets.ts";
import { bytesOfRange } from "./upload-size.ts";

/**
 * These headers keep a browser from running a Pod's answer as a page, whatever its type is. A script in such a page could act for its user at every
 * Pod, because all Pods share the edge's hostname. If the token endpoint shares a hostname with another service, such as GitLab, the script could act
 * in the user's session there.
 */
export const notAPage = {
  "Content-Security-Policy": "default-src 'none'; sandbox",
  "X-Content-Type-Options": "nosniff",
} as const;

type RewriteContext = {
  readonly pod: Pod;
  readonly endpoint: RegistryEndpoint;
  /** Null unless the client asked for the repository by its old name. */
  readonly oldName: RepositoryName | null;
  readonly edgeOrigin: string;
  readonly edgeKeys: EdgeKeys;
  readonly now: Date;
  /** Null if an upload stays on the edge. */
  readonly gateway: PushGateway | null;
};

/**
 * Headers that a browser applies to the whole hostname, or that send a browser elsewhere. All Pods share the edge's hostname, so no Pod may set them.
 */
const dropped = [
  "accept-ch",
  "alt-svc",
  "clear-site-data",
  "expect-ct",
  "nel",
  "public-key-pins",
  "public-key-pins-report-only",
  "refresh",
  "report-to",
  "sec-session-registration",
  "secure-session-registration",
  "service-worker-allowed",
  "set-cookie",
  "set-cookie2",
  "set-login",
  "strict-transport-security",
  "timing-allow-origin",
  "use-as-dictionary",
];

/**
 * Turns a Pod's answer into the edge's answer, with the same status and body. `Location` and `Link` lead to the edge or, for an upload, to the Pod's
 * gateway.
 */
export async function rewriteResponse(response: Response, context: RewriteContext): Promise<Result<Response, Refusal>> {
  // The Pod's reason phrase is left out: a tab is allowed there (RFC 9112 §4), but not in a `Response`.
  const answer = new Response(response.body, { status: response.status, headers: response.headers });
  const { headers } = answer;
  // `Access-Control-…` headers are dropped, because only the operator decides which sites may read answers.
  dropHopByHop(headers, (name) => dropped.includes(name) || name.startsWith("access-control-"));
  for (const [name, value] of Object.entries(notAPage)) headers.set(name, value);
  const location = headers.get("Location");
  if (location !== null) {
    const rewritten = await rewriteLocation(location, response, context);
    if (rewritten === null) return foreign("Location", response, context);
    headers.set("Location", rewritten);
  }
  const link = headers.get("Link");
  if (link !== null) {
    const rewritten = rewriteLink(link, context);
    // Some clients follow a `Link` with their whole token, which has parts for other Pods. So an answer whose `Link` leads away from what the client
    // asked for is refused.
    if (rewritten === null) return foreign("Link", response, context);
    headers.set("Link", rewritten);
  }
  if (context.endpoint.kind === "manifest") headers.set("Cache-Control", withNoTransform(headers.get("Cache-Control")));
  return ok(answer);
}

const foreign = (header: string, { status }: Response, { endpoint }: RewriteContext): Result<never, Refusal> =>
  err({ reason: "foreign-location", text: `${header} of a ${status} for "${endpoint.kind}" leads away from it` });

/** Returns path and query on the edge, or a URL of the Pod's gateway. Null if `location` leads away from what the client asked for. */
async function rewriteLocation(
  location: string,
  { status, headers }: Response,
  context: RewriteContext,
): Promise<string | null> {
  const target = readLocation(location, status, context);
  if (target === null) return null;
  const { path, query, endpoint } = target;
  const uploadedBytes = bytesOfRange(headers.get("Range"));
  if (endpoint.kind === "upload") return pushLocation({ path, query, endpoint }, { ...context, uploadedBytes });
  return query === "" ? path : `${path}?${query}`;
}

/** A manifest's digest is computed over its bytes, so no proxy on the way may compress them (RFC 9111 §5.2.2.6). */
export const withNoTransform = (cacheControl: string | null): string =>
  cacheControl === null
    ? "no-transform"
    : cacheControl.includes("no-transform")
      ? cacheControl
      : `${cacheControl}, no-transform`;
