import { failure } from "./errors.ts";
import { json, type ToyReply } from "./http.ts";
import { INDEX_TYPE } from "./parse-manifest.ts";
import type { Repositories } from "./repositories.ts";
import type { RepositoryPlace } from "./routes.ts";

const DEFAULT_CATALOG_ENTRIES = 100;
const MAX_CATALOG_ENTRIES = 1000;

export function getTags(repositories: Repositories, { name }: RepositoryPlace, query: URLSearchParams): ToyReply {
  const n = parseCount(query);
  if (n === "invalid") return failure("PAGINATION_NUMBER_INVALID", { n: 0 });
  const repository = repositories.find(name);
  if (repository?.everTagged !== true) return failure("NAME_UNKNOWN", { name });
  const last = query.get("last") ?? "";
  const tags = [...repository.tags.keys()].sort().filter((tag) => tag > last);
  const page = tags.slice(0, n ?? tags.length);
  return json(200, { name, tags: page }, nextLink(`/v2/${name}/tags/list`, page, tags.length));
}

export function getCatalog(repositories: Repositories, query: URLSearchParams): ToyReply {
  const n = parseCount(query) ?? DEFAULT_CATALOG_ENTRIES;
  if (n === "invalid" || n > MAX_CATALOG_ENTRIES) return failure("PAGINATION_NUMBER_INVALID", { n: query.get("n") });
  const last = query.get("last");
  const key = (name: string) => name.replaceAll("/", "\0");
  const names = repositories.names().filter((name) => last === null || key(name) > key(last));
  const page = names.slice(0, n);
  return json(200, { repositories: page }, nextLink("/v2/_catalog", page, names.length));
}

function parseCount(query: URLSearchParams): number | null | "invalid" {
  const text = query.get("n") ?? "";
  if (text === "") return null;
  return /^\d{1,9}$/.test(text) ? Number(text) : "invalid";
}

/** The link is relative and has `last` before `n`, as distribution writes it. An empty page (`n=0`) has no next page. */
function nextLink(path: string, page: readonly string[], total: number): Readonly<Record<string, string>> {
  const last = page.at(-1);
  if (last === undefined || page.length === total) return {};
  const query = new URLSearchParams({ last, n: String(page.length) });
  return { Link: `<${path}?${query}>; rel="next"` };
}

/** OCI distribution spec, end-12. If the repository or the subject does not exist, the list is empty. */
export function getReferrers(
  repositories: Repositories,
  place: RepositoryPlace & { kind: "referrers" },
  query: URLSearchParams,
): ToyReply {
  const wanted = query.get("artifactType");
  const repository = repositories.find(place.name);
  const digests = [...(repository?.referrers.get(place.digest) ?? [])];
  const manifests = digests
    .flatMap((digest) => {
      const manifest = repository?.manifests.get(digest);
      return manifest === undefined ? [] : [[digest, manifest] as const];
    })
    .filter(([, { artifactType }]) => wanted === null || artifactType === wanted)
    .map(([digest, { mediaType, body, artifactType, annotations }]) => {
      return { mediaType, digest, size: body.length, annotations, artifactType };
    });
  const filtered = wanted === null ? {} : { "OCI-Filters-Applied": "artifactType" };
  return json(200, { schemaVersion: 2, mediaType: INDEX_TYPE, manifests }, { "Content-Type": INDEX_TYPE, ...filtered });
}
