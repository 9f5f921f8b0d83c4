import type { Pod } from "../directory/directory.ts";
import { type Endpoint, hasRepository, type RegistryEndpoint } from "../oci/endpoint.ts";
import { parseEndpoint } from "../oci/parse-endpoint.ts";

/** What a client asked for, and of which Pod. The places that the answer names are checked against this. */
export type Asked = {
  readonly pod: Pick<Pod, "registry">;
  readonly endpoint: RegistryEndpoint;
  /** The edge's own origin, because a Pod that believes the forwarded host uses it for itself. */
  readonly edgeOrigin: string;
};

/** A place that an answer names, as path and query on the edge. */
export type Target = { readonly path: string; readonly query: string; readonly endpoint: Endpoint };

/** No registry needs a longer place, and a URL of Cloudflare's has at most 16 KB. */
const MAX_CHARACTERS = 8192;

/**
 * Returns where `Location` leads. Null unless the place is in the same repository and of the same kind. Otherwise a Pod could answer a DELETE with a 307 to
 * another Pod's manifest, and clients would follow it with the credentials of their user (crane and regctl do). Only an upload may lead to another kind.
 */
export function readLocation(text: string, status: number, asked: Asked): Target | null {
  const { kind, method } = asked.endpoint;
  const isRedirect = status >= 300 && status < 400;
  // A redirect is followed with the method of the request (RFC 9110 §15.4.8); everything else that a `Location` names is a resource to read.
  if (isRedirect) return readTarget(text, { method, kinds: [kind] }, asked);
  const isUpload = kind === "upload-start" || kind === "upload";
  return readTarget(text, { method: "GET", kinds: isUpload ? ["upload", "blob"] : [kind] }, asked);
}

/**
 * Matches one link of RFC 8288 §3. Clients disagree on what else is a link (skopeo needs no brackets), so a header with anything else is refused. No two
 * repeated parts of the pattern accept the same character, so matching takes linear time.
 */
const linkGrammar = (() => {
  const token = "[\\w!#$%&'*+.^`|~-]+";
  const parameter = `\\s*;\\s*${token}(?:=(?:"[^"<>]*"|${token}))?`;
  return new RegExp(`<([^<>]*)>((?:${parameter})*\\s*(?:,\\s*|$))`, "gy");
})();

/** Rewrites each target of `Link` to path and query on the edge. Null unless each target leads to the same repository and to the same kind of list. */
export function rewriteLink(text: string, asked: Asked): string | null {
  if (text.length > MAX_CHARACTERS) return null;
  let [rewritten, readCharacters] = ["", 0];
  for (const [whole, place = "", rest = ""] of text.matchAll(linkGrammar)) {
    const target = readTarget(place, { method: "GET", kinds: [asked.endpoint.kind] }, asked);
    if (target === null) return null;
    rewritten += `<${target.path}${target.query === "" ? "" : `?${target.query}`}>${rest}`;
    readCharacters += whole.length;
  }
  return readCharacters === text.length ? rewritten : null;
}

type Wanted = { readonly method: string; readonly kinds: readonly Endpoint["kind"][] };

/**
 * Null unless the place is on the Pod's or the edge's host and is an endpoint of a wanted kind. Its name must be the one that was asked for. If none was
 * asked for, it must have no name.
 */
function readTarget(text: string, { method, kinds }: Wanted, asked: Asked): Target | null {
  const url = text.length > MAX_CHARACTERS ? null : ownUrl(text, asked);
  if (url === null) return null;
  const parsed = parseEndpoint(method, url);
  if (!parsed.ok || !kinds.includes(parsed.value.kind)) return null;
  if (nameOf(parsed.value) !== nameOf(asked.endpoint)) return null;
  return { path: url.pathname, query: url.search.slice(1), endpoint: parsed.value };
}

const nameOf = (endpoint: Endpoint): string | null => (hasRepository(endpoint) ? endpoint.name : null);

/** The URL, if it is on the Pod's host or on the edge's. */
function ownUrl(text: string, { pod, edgeOrigin }: Asked): URL | null {
  if (!URL.canParse(text, pod.registry)) return null;
  const url = new URL(text, pod.registry);
  // Only the host is compared, because a Pod behind a TLS terminator may think that it speaks plain HTTP.
  return url.host === new URL(pod.registry).host || url.host === new URL(edgeOrigin).host ? url : null;
}
