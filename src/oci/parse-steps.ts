import { err, ok, type Result } from "../lib/result.ts";
import type { Endpoint } from "./endpoint.ts";
import type { OciError } from "./errors.ts";
import { countParameter, parameter } from "./query.ts";
import { parseRepositoryName, type RepositoryName } from "./repository-name.ts";

/** The steps that every arm of `parseEndpoint` is made of. */
export type Parsed = Result<Endpoint, OciError>;

export const notFound = (path: string): OciError => ({
  code: "UNSUPPORTED",
  status: 404,
  message: `path "${path.slice(0, 300)}" is no endpoint of the registry API; want /v2/<name>/manifests|blobs|tags|referrers/…`,
});

export function allowed<M extends string, T>(
  method: string,
  methods: readonly M[],
  next: (known: M) => Result<T, OciError>,
): Result<T, OciError> {
  const known = methods.find((candidate) => candidate === method);
  if (known !== undefined) return next(known);
  // RFC 9110 §15.5.6: a 405 names the methods that would do.
  const allow = methods.join(", ");
  return err({
    code: "UNSUPPORTED",
    message: `method "${method}" is not supported here; want ${allow}`,
    headers: { Allow: allow },
  });
}

export function parseName(text: string, next: (name: RepositoryName) => Parsed): Parsed {
  const name = parseRepositoryName(text);
  return name.ok ? next(name.value) : err({ code: "NAME_INVALID", message: name.error });
}

/** Each of the parameters, decoded. Given twice, edge and Pod could read two values, so that is refused. */
export function parseOnce<N extends string>(
  query: string,
  names: readonly N[],
): Result<Record<N, string | null>, OciError> {
  const repeated = names.find((name) => countParameter(query, name) > 1);
  if (repeated !== undefined) {
    return err({ code: "QUERY_INVALID", message: `query parameter "${repeated}" is repeated; want it once` });
  }
  return ok(Object.fromEntries(names.map((name) => [name, parameter(query, name)])) as Record<N, string | null>);
}
