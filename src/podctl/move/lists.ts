import type { Pod } from "../../directory/directory.ts";
import { parseJson, parseJsonObject } from "../../lib/json.ts";
import { type Digest, parseDigest } from "../../oci/digest.ts";
import { parseTag, type Tag } from "../../oci/reference.ts";
import { parseRepositoryName, type RepositoryName } from "../../oci/repository-name.ts";
import type { Access } from "../../oci/scope.ts";
import { CliFailure } from "../failure.ts";
import { type Group, isInGroup } from "./group.ts";
import { type Answer, placeOf, type Registry } from "./registry.ts";
import { pullScope } from "./scopes.ts";

const pageEntries = 1_000;
const catalogScope: Access = { type: "registry", name: "catalog", actions: ["*"] };

export async function listRepositories(registry: Registry, group: Group): Promise<readonly RepositoryName[]> {
  const names = (await listByGitLab(registry, group)) ?? (await listByCatalog(registry));
  const parsed = names.flatMap((text) => {
    const name = parseRepositoryName(text);
    return name.ok && isInGroup(name.value, group) ? [name.value] : [];
  });
  return [...new Set(parsed)].sort();
}

async function listByCatalog(registry: Registry): Promise<readonly string[]> {
  const names: string[] = [];
  for await (const answer of pages(registry, `/v2/_catalog?n=${pageEntries}`, [catalogScope])) {
    if (answer.status !== 200) {
      throw new CliFailure(
        `Pod "${registry.pod.id}" answers its catalog with ${answer.status}; give podctl a user who may list it (registry:catalog:*)`,
      );
    }
    for (const listed of listOf(answer, "repositories", registry)) names.push(listed);
  }
  return names;
}

/** Null if the registry is not GitLab's, or does not list this group. */
async function listByGitLab(registry: Registry, { prefix }: Group): Promise<readonly string[] | null> {
  const scopes = [pullScope(prefix), pullScope(`${prefix}/*`)];
  // We send no token, because GitLab's registry names its version even when it answers 401.
  const base = await registry.ask({ path: "/gitlab/v1/", scopes: [] });
  if (base.headers["gitlab-container-registry-version"] === undefined) return null;
  const names: string[] = [];
  const path = `/gitlab/v1/repository-paths/${prefix}/repositories/list/?n=${pageEntries}`;
  for await (const answer of pages(registry, path, scopes)) {
    if (answer.status !== 200) return null;
    const listed = parseJson(new TextDecoder().decode(answer.bytes));
    // Without this check, an answer that is not a list would make the group seem empty.
    if (!Array.isArray(listed)) return null;
    for (const path of textsOf(listed.map((each) => Object(each)["path"]))) names.push(path);
  }
  return names;
}

/**
 * Returns no tags if the repository does not exist. The 404 must have the registry's form of an error, because a proxy in front of the registry may
 * answer 404, too.
 */
export async function listTags(registry: Registry, name: RepositoryName): Promise<readonly Tag[]> {
  const tags = new Set<Tag>();
  let isFirst = true;
  for await (const answer of pages(registry, `/v2/${name}/tags/list?n=${pageEntries}`, [pullScope(name)])) {
    if (answer.status === 404 && isFirst && Array.isArray(bodyOf(answer)["errors"])) return [];
    isFirst = false;
    if (answer.status !== 200) throw refused(registry, `the tags of "${name}"`, answer.status);
    for (const text of listOf(answer, "tags", registry)) {
      const tag = parseTag(text);
      if (tag.ok) tags.add(tag.value);
    }
  }
  return [...tags];
}

/** A descriptor in a list of referrers, as the registry gives it. */
export type Referrer = { readonly digest: Digest; readonly descriptor: object };

/** A registry without lists of referrers answers a request for a list with one of these statuses. With 200, the body is not a list. */
const unlistedStatuses = [200, 400, 404, 405, 406, 501];

/** Lists the manifests that refer to this manifest, each once. Null if the registry has no such list (OCI end-12). */
export async function listReferrers(
  registry: Registry,
  name: RepositoryName,
  digest: Digest,
): Promise<readonly Referrer[] | null> {
  const referrers = new Map<Digest, Referrer>();
  let isFirst = true;
  for await (const answer of pages(registry, `/v2/${name}/referrers/${digest}`, [pullScope(name)])) {
    const listed = referrersIn(answer);
    if (listed === null) {
      if (isFirst && unlistedStatuses.includes(answer.status)) return null;
      throw refused(registry, `the referrers of "${name}@${digest}"`, answer.status);
    }
    isFirst = false;
    for (const descriptor of listed) {
      const parsed = typeof descriptor.digest === "string" ? parseDigest(descriptor.digest) : null;
      if (parsed?.ok) referrers.set(parsed.value, { digest: parsed.value, descriptor });
    }
  }
  return [...referrers.values()];
}

function referrersIn(answer: Answer) {
  if (answer.status !== 200 || !/json/.test(answer.headers["content-type"] ?? "")) return null;
  const { manifests } = bodyOf(answer);
  return Array.isArray(manifests) ? manifests.map(Object) : null;
}

export async function hasBlob(registry: Registry, name: RepositoryName, digest: Digest): Promise<boolean> {
  const path = `/v2/${name}/blobs/${digest}`;
  const { status } = await registry.ask({ method: "HEAD", path, scopes: [pullScope(name)] });
  return status >= 200 && status < 400;
}

/** How many pages a list may have. If a registry gives only 100 entries on a page, its list may still have a million entries. */
const mostPages = 10_000;
/** How many bytes a list may have, because a move keeps its lists in memory. A list of a million tags has some 50 MB. */
const mostListBytes = 256 * 1024 * 1024;
/** How many bytes a page of a list may have. docker-registry 2.8 gives all tags of a repository on one page. */
const mostPageBytes = 64 * 1024 * 1024;

/**
 * A page links to the next one by `Link: <…>; rel="next"`. We stop at a page without such a link, or whose link leads to a page that we have read
 * already.
 */
async function* pages(registry: Registry, first: string, scopes: readonly Access[]): AsyncGenerator<Answer> {
  const seen = new Set<string>();
  let bytes = 0;
  for (let path: string | null = first; path !== null; ) {
    seen.add(path);
    const answer: Answer = await registry.ask({ path, scopes, maxBytes: mostPageBytes });
    bytes += answer.bytes.byteLength;
    if (seen.size > mostPages || bytes > mostListBytes) {
      throw new CliFailure(
        `Pod "${registry.pod.id}" gives a list without end at "${first}": it has more than ${mostPages} pages or ${mostListBytes} bytes; look at what this registry answers there`,
      );
    }
    yield answer;
    const next: string | null = nextOf(answer, path, registry.pod);
    path = next !== null && !seen.has(next) ? next : null;
  }
}

function nextOf({ headers }: Answer, asked: string, pod: Pod): string | null {
  const link = [headers["link"] ?? []].flat().join(", ");
  const [, target] = /<([^>]*)>[^<]*;\s*rel\s*=\s*"?next\b/i.exec(link) ?? [];
  return target === undefined ? null : placeOf(target, asked, pod);
}

const bodyOf = ({ bytes }: Answer): Readonly<Record<string, unknown>> =>
  parseJsonObject(new TextDecoder().decode(bytes)) ?? {};

/**
 * Some registries write `null` for an empty list. Throws a CliFailure for anything else that is not a list. A proxy's page with status 200 would
 * otherwise look like a repository without tags, and the move would remove the target's tags.
 */
function listOf(answer: Answer, member: "repositories" | "tags", { pod }: Registry): readonly string[] {
  const { [member]: list } = bodyOf(answer);
  if (list !== null && !Array.isArray(list))
    throw new CliFailure(
      `Pod "${pod.id}" answers 200 without a list of ${member}; look at what is in front of its registry`,
    );
  return textsOf(list);
}

const textsOf = (value: unknown): readonly string[] =>
  Array.isArray(value) ? value.filter((each) => typeof each === "string") : [];

export const refused = ({ pod }: Registry, what: string, status: number): CliFailure =>
  new CliFailure(`Pod "${pod.id}" answers ${status} for ${what}`);
