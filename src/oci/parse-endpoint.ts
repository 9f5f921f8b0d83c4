import { err, ok, type Result } from "../lib/result.ts";
import { type Digest, parseDigest } from "./digest.ts";
import type { Endpoint, Mount } from "./endpoint.ts";
import type { OciError } from "./errors.ts";
import { matchPath, methodsOf, type PathMatch } from "./match-path.ts";
import { countParameter, parameter, withoutParameters } from "./query.ts";
import { parseReference, parseTag, type Reference, type Tag } from "./reference.ts";
import { parseRepositoryName } from "./repository-name.ts";

/**
 * Parses method and URL into an Endpoint, or into the error to answer with. The URL parser has already resolved dot segments;
 * everything else that is not canonical is refused here, before any look-up.
 */
export function parseEndpoint(method: string, url: URL): Result<Endpoint, OciError> {
  const match = matchPath(url.pathname);
  if (match === null) return err(notFound(url.pathname));
  const { kind } = match;
  const name = match.name === null ? null : parseRepositoryName(match.name);
  if (name?.ok === false) return err({ code: "NAME_INVALID", message: name.error });
  if (!methodsOf(kind).includes(method)) return err(methodNotAllowed(method, methodsOf(kind)));
  const last = parseLast(match);
  if (!last.ok) return last;
  const query = parseQuery(kind, url.search.slice(1));
  if (!query.ok) return query;
  const named = name === null ? {} : { name: name.value };
  // Each kind gets its own members from the table and from `parseLast` and `parseQuery`. A round-trip test checks that for every kind.
  return ok({ kind, method, ...named, ...last.value, ...query.value } as Endpoint);
}

const notFound = (path: string): OciError => ({
  code: "UNSUPPORTED",
  status: 404,
  message: `path "${path.slice(0, 300)}" is not an endpoint of the registry API; want /v2/<name>/manifests|blobs|tags|referrers/…`,
});

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

/** The member that the last segment of the path gives. */
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
      // Registries have no route for a tag that cannot exist, so they answer 404.
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

/** Some clients escape the colon of a digest, which RFC 3986 §3.3 allows; nothing else in a reference may be escaped. */
const unescapeColon = (segment: string): string => segment.replace(/%3a/i, ":");

/** What the session ids of distribution and GitLab are made of, and what RFC 3986 §2.3 leaves unescaped. */
const uploadGrammar = /^[A-Za-z0-9._~=-]{1,512}$/;

/** The raw query, without the parameters that the endpoint has a member for, and these members. */
function parseQuery(kind: Endpoint["kind"], query: string): Result<{ readonly query: string }, OciError> {
  switch (kind) {
    case "catalog":
    case "tags": {
      const repeated = repeatedOf(query, ["n", "last"]);
      if (repeated !== null) return err(repeated);
      const rest = withoutParameters(query, ["n", "last"]);
      return ok({ n: parameter(query, "n"), last: parameter(query, "last"), query: rest });
    }
    case "upload-start": {
      const repeated = repeatedOf(query, ["digest", "mount", "from"]);
      if (repeated !== null) return err(repeated);
      // A `from` without `mount` means nothing to a registry, but would demand a right on one more repository.
      const rest = withoutParameters(query, ["digest", "mount", "from"]);
      return ok({ digest: parameter(query, "digest"), mount: parseMount(query), query: rest });
    }
    case "upload": {
      const repeated = repeatedOf(query, ["digest"]);
      return repeated === null ? ok({ query }) : err(repeated);
    }
    default:
      return ok({ query });
  }
}

/** A parameter that is given twice is refused, because edge and Pod could read two values. */
function repeatedOf(query: string, names: readonly string[]): OciError | null {
  const repeated = names.find((name) => countParameter(query, name) > 1);
  if (repeated === undefined) return null;
  return { code: "QUERY_INVALID", message: `query parameter "${repeated}" is repeated; want it once` };
}

function parseMount(query: string): Mount | null {
  const [digest, from] = [parameter(query, "mount"), parameter(query, "from")];
  if (digest === null) return null;
  if (from === null) return { digest, from: { kind: "absent" } };
  const name = parseRepositoryName(from);
  return { digest, from: name.ok ? { kind: "name", name: name.value } : { kind: "unusable" } };
}
