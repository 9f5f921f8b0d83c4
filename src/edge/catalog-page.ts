import * as v from "valibot";
import type { Directory } from "../directory/directory.ts";
import type { PodId } from "../directory/pod-id.ts";
import { assignedPods } from "../directory/resolve.ts";
import { ok, type Result } from "../lib/result.ts";
import { textWithin } from "../net/within.ts";
import { parseRepositoryName } from "../oci/repository-name.ts";
import type { DirectoryFailure } from "../refusal.ts";

/** One page of a Pod's list. The page begins after the name `after`, in the Pod's own order. */
export type CatalogPage = {
  readonly pod: PodId;
  readonly after: string | null;
  /** The listed names that belong to this Pod, each once. */
  readonly repositories: readonly string[];
  /**
   * The last name that the Pod listed in this page. The Pod's next page begins after this name, which may belong to another Pod. Null if the page has no
   * name.
   */
  readonly end: string | null;
  readonly hasMore: boolean;
};

/** A page of this size holds four thousand names of 255 characters. By default, registries refuse to list more than a thousand names in one page. */
const MAX_PAGE_BYTES = 1024 * 1024;
/** The look-up of each name costs the read of one KV key. If a Pod lists more names than this in one page, the rest comes with the next page. */
const MAX_PAGE_NAMES = 1000;

const page = v.object({ repositories: v.nullish(v.array(v.string()), []) });

type Asked = { readonly pod: PodId; readonly after: string | null; readonly directory: Directory };

/**
 * Reads a Pod's answer as a page of its catalog. Null if the answer is not such a page. Null also if the page does not go on after `after`, because a
 * client would then read the list for ever. Keeps only names that the directory gives to this Pod. A Pod may also list names of other Pods, or names
 * that it made up.
 */
export async function readPage(
  response: Response,
  { pod, after, directory }: Asked,
): Promise<Result<CatalogPage | null, DirectoryFailure>> {
  const text = await textWithin(response, MAX_PAGE_BYTES);
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), page), text ?? "");
  if (!parsed.success) return ok(null);
  // Entries that are not repository names are left out. A client could not ask for them. As cursors, they might not fit into a URL or a header.
  const listed = (parsed.output.repositories ?? []).flatMap((name) => {
    const repository = parseRepositoryName(name);
    return repository.ok ? [repository.value] : [];
  });
  const names = listed.slice(0, MAX_PAGE_NAMES);
  const hasMore = response.headers.has("Link") || listed.length > names.length;
  const end = names.at(-1) ?? null;
  // The Pod's next page begins after the last name of this page. An empty page has no last name. So if it says that more names follow, the answer is
  // not a page.
  if (end === null) return ok(hasMore ? null : { pod, after, repositories: [], end, hasMore });
  if (after !== null && (names.some((name) => name === after) || !leadsPast(after, end))) return ok(null);
  const pods = await assignedPods(directory, names, { chosenBy: "pod" });
  if (!pods.ok) return pods;
  const repositories = [...new Set(names)].filter((name) => pods.value.get(name)?.id === pod);
  return ok({ pod, after, repositories, end, hasMore });
}

/** The orders in which registries list names: by character, by component (distribution 2.8), and by the keys of a bucket (distribution 3 on S3). */
const orders: readonly ((name: string) => string)[] = [
  (name) => name,
  (name) => name.replaceAll("/", "\0"),
  (name) => `${name}/`,
];

/**
 * Whether a page goes on after its cursor. Its last name, `end`, must come after the cursor in at least one of the `orders`. A client may use any
 * text as its cursor. We do not compare a text that is not a repository name, because each Pod reads it in its own way.
 */
const leadsPast = (cursor: string, end: string): boolean =>
  !parseRepositoryName(cursor).ok || orders.some((keyOf) => keyOf(end) > keyOf(cursor));
