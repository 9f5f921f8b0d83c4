import type { Digest } from "./digest.ts";
import { withParameters } from "./query.ts";
import { isDigest, type Reference, type Tag } from "./reference.ts";
import type { RepositoryName } from "./repository-name.ts";

/**
 * What a request asks for: a row of the OCI distribution spec's endpoint table (`end-1` to `end-14`), the catalog, a GitLab endpoint (`/gitlab/v1`),
 * or the token endpoint. The Pod's request is formatted from the Endpoint, so edge and Pod cannot read two different names.
 *
 * `query` is the raw query without the parameters that have a field of their own.
 */
export type Endpoint = RegistryEndpoint | TokenEndpoint;

type TokenEndpoint = {
  readonly kind: "token";
  readonly method: "GET" | "HEAD" | "POST";
  readonly query: string;
};

export type RegistryEndpoint = NamelessEndpoint | RepositoryEndpoint;

export type NamelessEndpoint =
  | { readonly kind: "base"; readonly method: "GET" | "HEAD"; readonly query: string }
  | {
      readonly kind: "catalog";
      readonly method: "GET";
      readonly n: string | null;
      readonly last: string | null;
      readonly query: string;
    }
  | { readonly kind: "gitlab-base"; readonly method: "GET" | "HEAD"; readonly query: string }
  | { readonly kind: "gitlab-statistics"; readonly method: "GET"; readonly query: string };

export type RepositoryEndpoint = { readonly name: RepositoryName; readonly query: string } & (
  | { readonly kind: "blob"; readonly method: "GET" | "HEAD" | "DELETE"; readonly digest: Digest }
  | { readonly kind: "manifest"; readonly method: "GET" | "HEAD" | "PUT" | "DELETE"; readonly reference: Reference }
  /** OCI end-4, or end-11 if there is a `mount`. With `digest`, this one request has the whole blob. */
  | {
      readonly kind: "upload-start";
      readonly method: "POST";
      readonly digest: string | null;
      readonly mount: Mount | null;
    }
  /** OCI end-5, end-6, end-13 and end-14. `upload` is the id that the Pod gave to the upload. */
  | { readonly kind: "upload"; readonly method: "GET" | "HEAD" | "PATCH" | "PUT" | "DELETE"; readonly upload: string }
  | { readonly kind: "tags"; readonly method: "GET"; readonly n: string | null; readonly last: string | null }
  | { readonly kind: "referrers"; readonly method: "GET"; readonly digest: Digest }
  | { readonly kind: "gitlab-repository"; readonly method: "GET" | "PATCH" }
  | { readonly kind: "gitlab-tags"; readonly method: "GET" }
  | { readonly kind: "gitlab-tag"; readonly method: "GET"; readonly tag: Tag }
  | { readonly kind: "gitlab-descendants"; readonly method: "GET" }
);

/** A blob that the registry should take from another repository (OCI end-11). `unusable`: the `from` in the query is not a repository name. */
export type Mount = {
  readonly digest: string;
  readonly from: { readonly kind: "name"; readonly name: RepositoryName } | { readonly kind: "unusable" };
};

export const hasRepository = (endpoint: Endpoint): endpoint is RepositoryEndpoint => "name" in endpoint;

/** Returns the digest in the path. Null if the path has none. */
export function digestOf(endpoint: Endpoint): Digest | null {
  if (endpoint.kind === "blob" || endpoint.kind === "referrers") return endpoint.digest;
  return endpoint.kind === "manifest" && isDigest(endpoint.reference) ? endpoint.reference : null;
}

/** Formats path and query for the Pod: the inverse of `parseEndpoint`. */
export function formatEndpoint(endpoint: RegistryEndpoint): string {
  const query = formatQuery(endpoint);
  return query === "" ? formatPath(endpoint) : `${formatPath(endpoint)}?${query}`;
}

export function formatPath(endpoint: RegistryEndpoint): string {
  switch (endpoint.kind) {
    case "base":
      return "/v2/";
    case "catalog":
      return "/v2/_catalog";
    case "gitlab-base":
      return "/gitlab/v1/";
    case "gitlab-statistics":
      return "/gitlab/v1/statistics/";
    case "blob":
      return `/v2/${endpoint.name}/blobs/${endpoint.digest}`;
    case "manifest":
      return `/v2/${endpoint.name}/manifests/${endpoint.reference}`;
    case "upload-start":
      return `/v2/${endpoint.name}/blobs/uploads/`;
    case "upload":
      return `/v2/${endpoint.name}/blobs/uploads/${endpoint.upload}`;
    case "tags":
      return `/v2/${endpoint.name}/tags/list`;
    case "referrers":
      return `/v2/${endpoint.name}/referrers/${endpoint.digest}`;
    case "gitlab-repository":
      return `/gitlab/v1/repositories/${endpoint.name}/`;
    case "gitlab-tags":
      return `/gitlab/v1/repositories/${endpoint.name}/tags/list/`;
    case "gitlab-tag":
      return `/gitlab/v1/repositories/${endpoint.name}/tags/detail/${endpoint.tag}/`;
    case "gitlab-descendants":
      return `/gitlab/v1/repository-paths/${endpoint.name}/repositories/list/`;
  }
}

function formatQuery(endpoint: RegistryEndpoint): string {
  switch (endpoint.kind) {
    case "tags":
    case "catalog":
      return withParameters(endpoint.query, { n: endpoint.n, last: endpoint.last });
    case "upload-start":
      return withParameters(endpoint.query, { digest: endpoint.digest, ...mountParameters(endpoint.mount) });
    default:
      return endpoint.query;
  }
}

export function mountParameters(mount: Mount | null): Readonly<Record<string, string | null>> {
  // If the source cannot be a repository, we do not ask the Pod for the mount. The Pod then begins an upload (202), and the client uploads the blob
  // (OCI end-11).
  if (mount === null || mount.from.kind === "unusable") return {};
  return { mount: mount.digest, from: mount.from.name };
}
