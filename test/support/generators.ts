import fc from "fast-check";
import type { Digest } from "../../src/oci/digest.ts";
import type { Endpoint, Mount } from "../../src/oci/endpoint.ts";
import type { DigestLike, Reference, Tag } from "../../src/oci/reference.ts";
import type { RepositoryName } from "../../src/oci/repository-name.ts";

/**
 * Legal components of a name that are also fixed words in the spec's paths. A parser that reads a path from the left would end the name at such a
 * word.
 */
const trap = fc.constantFrom(
  "manifests",
  "blobs",
  "uploads",
  "tags",
  "list",
  "referrers",
  "v2",
  "detail",
  "repositories",
);
const component = fc.oneof(trap, fc.stringMatching(/^[a-z0-9]{1,6}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}$/));

export const repositoryName = fc
  .array(component, { minLength: 1, maxLength: 8 })
  .map((parts) => parts.join("/") as RepositoryName)
  .filter((name) => name.length <= 255);

const hexDigits = (length: number) =>
  fc
    .array(fc.constantFrom(..."0123456789abcdef".split("")), { minLength: length, maxLength: length })
    .map((digits) => digits.join(""));
export const digest = fc
  .oneof(
    hexDigits(64).map((digits) => `sha256:${digits}`),
    hexDigits(128).map((digits) => `sha512:${digits}`),
  )
  .map((text) => text as Digest);
export const tag = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}$/).map((text) => text as Tag);
const digestLike = fc.stringMatching(/^sha256:[a-zA-Z0-9=_-]{1,40}$/).map((text) => text as DigestLike);
const reference: fc.Arbitrary<Reference> = fc.oneof(tag, digest, digestLike);

/** Raw queries as clients send them. They lack parameters such as `n` and `last`, because an Endpoint has its own fields for these. */
const query = fc
  .array(
    fc.tuple(fc.constantFrom("ns", "artifactType", "_state", "x"), fc.stringMatching(/^[A-Za-z0-9._~%2B=-]{0,8}$/)),
    { maxLength: 3 },
  )
  .map((pairs) => pairs.map(([name, value]) => `${name}=${value}`).join("&"));
const page = {
  n: fc.option(fc.nat().map(String)),
  last: fc.option(fc.string({ unit: "grapheme-ascii", maxLength: 12 })),
};

const mount: fc.Arbitrary<Mount> = fc.record({
  digest,
  from: fc.record({ kind: fc.constant("name" as const), name: repositoryName }),
});

const kind = <K extends string>(value: K) => fc.constant(value);

/** Every endpoint that `parseEndpoint` can give, except the token endpoint. */
export const registryEndpoint = fc.oneof(
  fc.record({ kind: kind("base"), method: fc.constantFrom("GET", "HEAD"), query }),
  fc.record({ kind: kind("catalog"), method: kind("GET"), query, ...page }),
  fc.record({ kind: kind("gitlab-base"), method: fc.constantFrom("GET", "HEAD"), query }),
  fc.record({ kind: kind("gitlab-statistics"), method: kind("GET"), query }),
  fc.record({
    kind: kind("blob"),
    method: fc.constantFrom("GET", "HEAD", "DELETE"),
    name: repositoryName,
    digest,
    query,
  }),
  fc.record({
    kind: kind("manifest"),
    method: fc.constantFrom("GET", "HEAD", "PUT", "DELETE"),
    name: repositoryName,
    reference,
    query,
  }),
  fc.record({
    kind: kind("upload-start"),
    method: kind("POST"),
    name: repositoryName,
    digest: fc.option(digest),
    mount: fc.option(mount),
    query,
  }),
  fc.record({
    kind: kind("upload"),
    method: fc.constantFrom("GET", "HEAD", "PATCH", "PUT", "DELETE"),
    name: repositoryName,
    upload: fc.stringMatching(/^[A-Za-z0-9._~=-]{1,40}$/).filter((id) => id !== "." && id !== ".."),
    query,
  }),
  fc.record({ kind: kind("tags"), method: kind("GET"), name: repositoryName, query, ...page }),
  fc.record({ kind: kind("referrers"), method: kind("GET"), name: repositoryName, digest, query }),
  fc.record({ kind: kind("gitlab-tags"), method: kind("GET"), name: repositoryName, query }),
  fc.record({ kind: kind("gitlab-tag"), method: kind("GET"), name: repositoryName, tag, query }),
  fc.record({ kind: kind("gitlab-descendants"), method: kind("GET"), name: repositoryName, query }),
  // GitLab's API is ambiguous here: a repository that ends in tags/list is read as a tag list.
  fc.record({
    kind: kind("gitlab-repository"),
    method: fc.constantFrom("GET", "PATCH"),
    name: repositoryName.filter((name) => !/\/tags\/(list|detail\/[^/]*)$/.test(name)),
    query,
  }),
) as fc.Arbitrary<Exclude<Endpoint, { kind: "token" }>>;
