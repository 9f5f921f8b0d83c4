import { err, ok, type Result } from "../lib/result.ts";
import { type Digest, parseDigest } from "./digest.ts";
import { type Endpoint, formatPath, type Mount } from "./endpoint.ts";
import type { OciError } from "./errors.ts";
import { matchPath, methodsOf, type PathMatch } from "./match-path.ts";
import {
  hasMoreParameters,
  joinParameters,
  MAX_PARAMETERS,
  MAX_TOKEN_PARAMETERS,
  readParameters,
  valuesOf,
} from "./query.ts";
import { parseReference, parseTag, type Reference, type Tag } from "./reference.ts";
import { parseRepositoryName } from "./repository-name.ts";

/**
 * Parses method and URL into an Endpoint, or into the error or redirect that the client gets. `URL` has already resolved dot segments. A URL with
 * another flaw, such as a path that begins with `//`, never becomes an Endpoint, so nothing is looked up for it.
 */
export function parseEndpoint(method: string, url: URL): Result<Endpoint, OciError> {
  const match = matchPath(url.pathname);
  if (match === null) return err(moved(url) ?? notFound(url.pathname));
  const { kind } = match;
  const name = match.name === null ? null : parseRepositoryName(match.name);
  if (name?.ok === false) return err({ code: "NAME_INVALID", message: name.error });
  if (!methodsOf(kind).includes(method)) return err(methodNotAllowed(method, methodsOf(kind)));
  const last = parseLast(match);
  if (!last.ok) return last;
  const query = parseQuery(kind, url.search.slice(1));
  if (!query.ok) return query;
  const named = name === null ? {} : { name: name.value };
  // The cast is safe, because `methodsOf(kind)` has the method, and `parseLast` and `parseQuery` return the members of this kind. A round-trip test
  // checks every kind.
  return ok({ kind, method, ...named, ...last.value, ...query.value } as Endpoint);
}

const notFound = (path: string): OciError => ({
  code: "UNSUPPORTED",
  status: 404,
  message: `path "${path.slice(0, 300)}" is not an endpoint of the registry API; want /v2/<name>/manifests|blobs|tags|referrers/…`,
});

/** A longer path is not redirected. The longest path of an endpoint has about 800 characters, with a repository's name and an upload's id. */
const MAX_MOVED_CHARACTERS = 1_000;

/**
 * Redirects a path with too many slashes at its start or end, for any method, as distribution's router does. Null if the path is not an endpoint even
 * without these slashes.
 */
function moved({ origin, pathname, search }: URL): OciError | null {
  const isMoved = pathname.startsWith("//") || pathname.endsWith("/");
  if (!isMoved || pathname.length > MAX_MOVED_CHARACTERS) return null;
  const path = pathname.replace(/^\/+|\/+$/g, "");
  for (const candidate of [`/${path}`, `/${path}/`]) {
    const match = matchPath(candidate);
    if (match === null) continue;
    const [method = "GET"] = methodsOf(match.kind);
    const parsed = parseEndpoint(method, new URL(origin + candidate));
    if (!parsed.ok || parsed.value.kind === "token") continue;
    const target = formatPath(parsed.value);
    const message = `path has too many slashes; want "${target.slice(0, 300)}"`;
    return { code: "UNSUPPORTED", status: 301, message, headers: { Location: target + search } };
  }
  return null;
}

function methodNotAllowed(method: string, methods: readonly string[]): OciError {
  const allow = methods.join(", ");
  return {
    code: "UNSUPPORTED",
    message: `method "${method}" is not supported here; want ${allow}`,
    // RFC 9110 §15.5.6: a 405 names the methods that the resource has.
    headers: { Allow: allow },
  };
}

type Last = { readonly digest?: Digest; readonly reference?: Reference; readonly upload?: string; readonly tag?: Tag };

function parseLast({ kind, last }: PathMatch): Result<Last, OciError> {
  switch (kind) {
    case "blob":
    case "referrers": {
      const digest = parseDigest(unescapeColon(last));
      return digest.ok ? ok({ digest: digest.value }) : err({ code: "DIGEST_INVALID", message: digest.error });
    }
    case "manifest": {
      const text = unescapeColon(last);
      const reference = parseReference(text);
      if (reference.ok) return ok({ reference: reference.value });
      // An invalid tag gets 404, because registries have no route for it.
      return err({ code: text.includes(":") ? "DIGEST_INVALID" : "MANIFEST_UNKNOWN", message: reference.error });
    }
    case "upload":
      if (uploadGrammar.test(last)) return ok({ upload: last });
      return err({ code: "BLOB_UPLOAD_UNKNOWN", message: "upload is unknown; start one with POST …/blobs/uploads/" });
    case "gitlab-tag": {
      const tag = parseTag(last);
      return tag.ok ? ok({ tag: tag.value }) : err({ code: "MANIFEST_UNKNOWN", message: tag.error });
    }
    default:
      return ok({});
  }
}

/** Some clients escape the colon of a digest, as RFC 3986 §3.3 allows. Nothing else in a reference may be escaped. */
const unescapeColon = (segment: string): string => segment.replace(/%3a/i, ":");

/** The characters of distribution's and GitLab's upload ids, and those that RFC 3986 §2.3 leaves unescaped. */
const uploadGrammar = /^[A-Za-z0-9._~=-]{1,512}$/;

/** Moves each parameter for which this kind of Endpoint has a field into that field, and leaves all others in `query`. */
function parseQuery(kind: Endpoint["kind"], query: string): Result<{ readonly query: string }, OciError> {
  const most = kind === "token" ? MAX_TOKEN_PARAMETERS : MAX_PARAMETERS;
  if (hasMoreParameters(query, most)) {
    return err({ code: "QUERY_INVALID", message: `query has more than ${most} parameters; send fewer` });
  }
  // Registries built with Go before 1.17, such as distribution 2.8.0, also split a query at `;`. So they could find a mount where the edge sees none.
  // An upload's query may have a `;`, because it comes from the registry itself. A token request's query may have one, because it is not passed on.
  if (query.includes(";") && kind !== "upload" && kind !== "token") {
    return err({
      code: "QUERY_INVALID",
      message: 'query has a ";", which registries read in different ways; write it as "%3B"',
    });
  }
  switch (kind) {
    case "catalog":
    case "tags": {
      const taken = takeParameters(query, ["n", "last"]);
      return taken.ok ? ok({ ...taken.value.values, query: taken.value.rest }) : taken;
    }
    case "upload-start": {
      // A `from` without `mount` is dropped, because registries ignore it. Otherwise the token would need a right to the source repository. A `mount`
      // without `from` is dropped too. Otherwise a registry would search all its repositories for the blob (OCI end-11), even those blocked at the
      // edge.
      const taken = takeParameters(query, ["digest", "mount", "from"]);
      if (!taken.ok) return taken;
      const { digest, mount, from } = taken.value.values;
      return ok({ digest, mount: parseMount(mount, from), query: taken.value.rest });
    }
    case "upload": {
      const taken = takeParameters(query, ["digest"]);
      return taken.ok ? ok({ query }) : taken;
    }
    default:
      return ok({ query });
  }
}

type Taken<Name extends string> = { readonly values: Readonly<Record<Name, string | null>>; readonly rest: string };

/** A repeated parameter is refused, because edge and Pod could read different values. */
function takeParameters<Name extends string>(query: string, names: readonly Name[]): Result<Taken<Name>, OciError> {
  const parameters = readParameters(query);
  const repeated = names.find((name) => valuesOf(parameters, name).length > 1);
  if (repeated !== undefined) {
    return err({ code: "QUERY_INVALID", message: `query parameter "${repeated}" is repeated; want it once` });
  }
  const values = Object.fromEntries(names.map((name) => [name, valuesOf(parameters, name)[0] ?? null]));
  const rest = parameters.filter(({ name }) => !names.some((taken) => taken === name));
  return ok({ values: values as Taken<Name>["values"], rest: joinParameters(rest) });
}

function parseMount(digest: string | null, from: string | null): Mount | null {
  if (digest === null || from === null) return null;
  const name = parseRepositoryName(from);
  return { digest, from: name.ok ? { kind: "name", name: name.value } : { kind: "unusable" } };
}
