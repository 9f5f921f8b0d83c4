import type { Directory } from "../directory/directory.ts";
import type { PodId } from "../directory/pod-id.ts";
import { assignedPods } from "../directory/resolve.ts";
import { isText, parseJsonObject } from "../lib/json.ts";
import { ok, type Result } from "../lib/result.ts";
import { textWithin } from "../net/within.ts";
import { parseRepositoryName } from "../oci/repository-name.ts";
import type { DirectoryFailure } from "../refusal.ts";

/** One page of a Pod's catalog. The page begins after the name `after` in the Pod's own order, or at the start if `after` is null. */
export type CatalogPage = {
  readonly pod: PodId;
  readonly after: string | null;
  /** The listed names that belong to this Pod, each once. */
  readonly repositories: readonly string[];
  /** The last name in the page, after which the next page begins. It may belong to another Pod. Null if the page has no name. */
  readonly end: string | null;
  readonly hasMore: boolean;
};

/** By default, registries list at most a thousand names in one page. A thousand names of 255 characters take a quarter of this size. */
const MAX_PAGE_BYTES = 1024 * 1024;
/** A page of this many names is always within `MAX_PAGE_BYTES`: a name has at most 255 characters, and JSON adds three. */
export const MAX_READABLE_NAMES = 4_000;
/** If a Pod lists more names than this in one page, the rest comes with the next page. */
export const MAX_PAGE_NAMES = 1000;
/**
 * To find the Pods of all listed names, the edge reads at most this many KV keys. One call reads 100 keys, and a request may make 50 calls in all
 * (Workers' free plan). A name needs one key for each of its components, up to the depth of the directory. Without a limit, a hostile Pod could list
 * a thousand names of 20 components, which need 200 calls.
 */
const MAX_KEYS = 2_000;

type Asked = {
  readonly pod: PodId;
  readonly after: string | null;
  readonly directory: Directory;
  readonly podCount: number;
};

/**
 * Reads a Pod's answer as a page of its catalog. Null if the answer is not a page, or if the page's last name does not come after its cursor `after`.
 */
export async function readPage(
  response: Response,
  { pod, after, directory, podCount }: Asked,
): Promise<Result<CatalogPage | null, DirectoryFailure>> {
  const entries = readEntries((await textWithin(response, MAX_PAGE_BYTES)) ?? "");
  if (entries === null) return ok(null);
  // A hostile Pod's page may have a quarter of a million short names, so we look only at the first `MAX_PAGE_NAMES`.
  const counted = entries.slice(0, MAX_PAGE_NAMES);
  if (!counted.every(isText)) return ok(null);
  // Only repository names are kept. The last of them becomes the next page's cursor, which must fit into a URL and a header.
  const listed = counted.flatMap((name) => {
    const repository = parseRepositoryName(name);
    return repository.ok ? [repository.value] : [];
  });
  const pods = await assignedPods(directory, listed, { chosenBy: "pod", maxKeys: Math.floor(MAX_KEYS / podCount) });
  if (!pods.ok) return pods;
  const unknown = listed.findIndex((name) => !pods.value.has(name));
  const names = unknown < 0 ? listed : listed.slice(0, unknown);
  const hasMore = hasNext(response.headers) || entries.length > counted.length || unknown >= 0;
  const end = names.at(-1) ?? null;
  // An empty page has no last name after which the next page could begin. So if an empty page says that more names follow, it counts as no page.
  if (end === null) return ok(hasMore ? null : { pod, after, repositories: [], end, hasMore });
  // If the page's last name did not come after its cursor `after`, the client would ask for pages for ever.
  if (after !== null && (names.some((name) => name === after) || !leadsPast(after, end))) return ok(null);
  const repositories = [...new Set(names)].filter((name) => pods.value.get(name)?.id === pod);
  return ok({ pod, after, repositories, end, hasMore });
}

/** Whether a page names a next one. `Link` may have several links, and a link several relations (RFC 8288 §3.3). */
export const hasNext = (headers: Headers): boolean =>
  /;\s*rel\s*=\s*(?:next\s*(?:[;,]|$)|"(?:[^"]* )?next[ "])/i.test(headers.get("Link") ?? "");

/** Null if the text is not a page. Registries in Go write an empty list as null. */
function readEntries(text: string): readonly unknown[] | null {
  const page = parseJsonObject(text);
  const entries = page?.["repositories"] ?? [];
  return page !== null && Array.isArray(entries) ? entries : null;
}

/** The orders in which registries list names: by character, by component (distribution 2.8), and by the keys of a bucket (distribution 3 on S3). */
const orders: readonly ((name: string) => string)[] = [
  (name) => name,
  (name) => name.replaceAll("/", "\0"),
  (name) => `${name}/`,
];

/**
 * Whether `end`, a page's last name, may come after the page's cursor. We do not know the Pod's order, so it is enough if `end` comes later in one of
 * the `orders`. A client may send a cursor that is not a repository name. Pods sort such a text differently, so any `end` is then accepted.
 */
const leadsPast = (cursor: string, end: string): boolean =>
  !parseRepositoryName(cursor).ok || orders.some((keyOf) => keyOf(end) > keyOf(cursor));
