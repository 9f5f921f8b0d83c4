import type { Pod } from "../directory/directory.ts";
import { type Endpoint, formatPath, hasRepository, mountParameters, type RegistryEndpoint } from "../oci/endpoint.ts";
import { parseEndpoint } from "../oci/parse-endpoint.ts";
import { withoutParameters, withParameters } from "../oci/query.ts";
import type { RepositoryName } from "../oci/repository-name.ts";

/** What a client asked for, and which Pod got the request. Each URL in the Pod's answer is checked against both. */
export type Asked = {
  readonly pod: Pick<Pod, "registry">;
  readonly endpoint: RegistryEndpoint;
  /** The edge's own origin. A Pod that trusts `X-Forwarded-Host` writes this origin into its `Location`. */
  readonly edgeOrigin: string;
  /** Null or absent unless the client asked for the repository by its old name. */
  readonly oldName?: RepositoryName | null;
};

/** A URL in a Pod's answer, as a URL on the edge. */
export type Target = { readonly path: string; readonly query: string; readonly endpoint: Endpoint };

/** No registry needs a longer URL, and Cloudflare would refuse one of more than 16 KB anyway. */
const MAX_CHARACTERS = 8192;

/**
 * Returns where `Location` leads, if the endpoint there has the kind and the repository of the request, or else null. Only an upload's answer may
 * lead to another kind: to the upload's next request, or to the finished blob. Without this check, a Pod could answer a DELETE with a 307 to another
 * Pod's manifest. crane and regctl would follow it with their user's credentials.
 */
export function readLocation(text: string, status: number, asked: Asked): Target | null {
  const { kind, method } = asked.endpoint;
  const isRedirect = status >= 300 && status < 400;
  // Clients follow a redirect with the method of their request (RFC 9110 §15.4.8). In any other answer, `Location` names a resource that clients
  // read.
  if (isRedirect) return withOwnMount(readTarget(text, { method, kinds: [kind] }, asked), asked);
  const isUpload = kind === "upload-start" || kind === "upload";
  return readTarget(text, { method: "GET", kinds: isUpload ? ["upload", "blob"] : [kind] }, asked);
}

/**
 * Replaces `mount` and `from` in a Pod's redirect by those that the client sent. The client follows the redirect with its whole token. If the Pod
 * could choose `from`, the edge would copy a blob to the Pod from any repository that the client may pull.
 */
function withOwnMount(target: Target | null, { endpoint }: Asked): Target | null {
  if (target === null || endpoint.kind !== "upload-start") return target;
  const others = withoutParameters(target.query, ["mount", "from"]);
  return { ...target, query: withParameters(others, mountParameters(endpoint.mount)) };
}

/** Matches one link of RFC 8288 §3. A header with any other text is refused, because some clients find more links in it: skopeo needs no brackets. */
const linkGrammar = (() => {
  const token = "[\\w!#$%&'*+.^`|~-]+";
  // Matching takes linear time, because each repetition of `parameter` needs a `;`.
  const quoted = '"(?:[^"<>\\\\]|\\\\[^<>])*"';
  const parameter = `\\s*;\\s*${token}(?:\\s*=\\s*(?:${quoted}|${token}))?`;
  return new RegExp(`<([^<>]*)>((?:${parameter})*\\s*(?:(?:,\\s*)+|$))`, "gy");
})();

/**
 * Rewrites each target of `Link` to path and query on the edge. Null unless all targets lead to the repository and the kind of list that the client
 * asked for.
 */
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
 * Reads a URL from an answer. Null unless the URL's host is the Pod's or the edge's, its endpoint is of a wanted kind, and its repository is the
 * request's.
 */
function readTarget(text: string, { method, kinds }: Wanted, asked: Asked): Target | null {
  const url = text.length > MAX_CHARACTERS ? null : ownUrl(text, asked);
  if (url === null) return null;
  const parsed = parseEndpoint(method, url);
  if (!parsed.ok || !kinds.includes(parsed.value.kind)) return null;
  if (nameOf(parsed.value) !== nameOf(asked.endpoint)) return null;
  return { path: pathFor(parsed.value, url, asked), query: url.search.slice(1), endpoint: parsed.value };
}

/** If the client asked by an old name, it gets URLs with that name, because it also asks for its tokens by that name. */
const pathFor = (endpoint: Endpoint, { pathname }: URL, { oldName = null }: Asked): string =>
  oldName === null || !hasRepository(endpoint) ? pathname : formatPath({ ...endpoint, name: oldName });

const nameOf = (endpoint: Endpoint): string | null => (hasRepository(endpoint) ? endpoint.name : null);

/** Resolves a relative URL against the request's (RFC 9110 §10.2.2). Null unless the result is on the Pod's host or the edge's. */
function ownUrl(text: string, { pod, endpoint, edgeOrigin }: Asked): URL | null {
  const base = pod.registry + formatPath(endpoint);
  if (!URL.canParse(text, base)) return null;
  const url = new URL(text, base);
  // Only the host is compared, because a Pod behind a TLS terminator may name itself with `http:`.
  return url.host === new URL(pod.registry).host || url.host === new URL(edgeOrigin).host ? url : null;
}
