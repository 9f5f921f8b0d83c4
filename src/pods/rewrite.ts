import type { Pod } from "../directory/directory.ts";
import type { EdgeKeys } from "../lib/derive-key.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { withoutHopByHop } from "../net/headers.ts";
import { hasRepository, type RegistryEndpoint } from "../oci/endpoint.ts";
import { parseEndpoint } from "../oci/parse-endpoint.ts";
import { withoutParameters, withParameters } from "../oci/query.ts";
import type { Refusal } from "../refusal.ts";
import { pinParameter, sealPin } from "./upload-pin.ts";

type RewriteContext = {
  readonly pod: Pod;
  readonly endpoint: RegistryEndpoint;
  /** The edge's own origin, because a Pod that believes the forwarded host uses it for itself. */
  readonly edgeOrigin: string;
  readonly edgeKeys: EdgeKeys;
  readonly now: Date;
};

/** Makes the Pod's answer the edge's own: status and body stay, and `Location` and `Link` become paths on the edge. */
export async function rewriteResponse(response: Response, context: RewriteContext): Promise<Result<Response, Refusal>> {
  const headers = withoutHopByHop(response.headers);
  for (const name of ["Set-Cookie", "Alt-Svc"]) headers.delete(name);
  const location = headers.get("Location");
  if (location !== null) {
    const rewritten = await rewriteLocation(location, context);
    if (rewritten === null) return foreign("Location", response, context);
    headers.set("Location", rewritten);
  }
  const link = headers.get("Link");
  if (link !== null) {
    const rewritten = rewriteLink(link, context);
    // Some clients follow it with their whole token, which includes other Pods' parts.
    if (rewritten === null) return foreign("Link", response, context);
    headers.set("Link", rewritten);
  }
  if (context.endpoint.kind === "manifest") headers.set("Cache-Control", withNoTransform(headers.get("Cache-Control")));
  return ok(new Response(response.body, { status: response.status, statusText: response.statusText, headers }));
}

const foreign = (header: string, { status }: Response, { endpoint }: RewriteContext): Result<never, Refusal> =>
  err({ reason: "foreign-location", text: `${header} of a ${status} for "${endpoint.kind}" is not the Pod's own` });

/** The target as path and query on the edge; null if it is on another origin, or is an upload of another repository. */
async function rewriteLocation(location: string, context: RewriteContext): Promise<string | null> {
  const url = ownUrl(location, context);
  if (url === null) return null;
  const { endpoint } = context;
  if (endpoint.kind !== "upload-start" && endpoint.kind !== "upload") return url.pathname + url.search;
  const target = parseEndpoint("GET", url);
  if (!target.ok || !hasRepository(target.value) || target.value.name !== endpoint.name) return null;
  if (target.value.kind !== "upload") return url.pathname + url.search;
  const pinned = { repository: endpoint.name, upload: target.value.upload };
  const pin = await sealPin(context.pod.id, pinned, context);
  const query = withParameters(withoutParameters(url.search.slice(1), [pinParameter]), { [pinParameter]: pin });
  return `${url.pathname}?${query}`;
}

/** Each target as path and query on the edge; null if one of them is elsewhere. */
function rewriteLink(link: string, context: RewriteContext): string | null {
  let own = true;
  const rewritten = link.replace(/<([^>]*)>/g, (_, target: string) => {
    const url = ownUrl(target, context);
    own &&= url !== null;
    return `<${url?.pathname}${url?.search}>`;
  });
  return own ? rewritten : null;
}

/** The URL, if it is on the Pod's origin or on the edge's. */
function ownUrl(text: string, { pod, edgeOrigin }: RewriteContext): URL | null {
  if (!URL.canParse(text, pod.registry)) return null;
  const url = new URL(text, pod.registry);
  // As a reference on the edge, such a path would name another host (RFC 3986 §4.2).
  if (url.pathname.startsWith("//")) return null;
  // Only the host is compared, because a Pod behind a TLS terminator may think that it speaks plain HTTP.
  return url.host === new URL(pod.registry).host || url.host === new URL(edgeOrigin).host ? url : null;
}

/** A manifest's digest is computed over its bytes, so nothing in between may compress them (RFC 9111 §5.2.2.6). */
const withNoTransform = (cacheControl: string | null): string =>
  cacheControl === null
    ? "no-transform"
    : cacheControl.includes("no-transform")
      ? cacheControl
      : `${cacheControl}, no-transform`;
