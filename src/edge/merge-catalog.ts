import * as v from "valibot";
import { type PodId, parsePodId } from "../directory/pod-id.ts";
import { jsonResponse } from "../lib/json.ts";
import { textWithin } from "../net/within.ts";
import { apiVersionHeader } from "../oci/errors.ts";
import { withoutParameters, withParameters } from "../oci/query.ts";
import { parseRepositoryName } from "../oci/repository-name.ts";

/** One page of a Pod's list: what comes after `after`, in the Pod's own order, and whether there is more. */
export type CatalogPage = {
  readonly pod: PodId;
  readonly after: string | null;
  readonly repositories: readonly string[];
  readonly hasMore: boolean;
};

/** What registries give if the request has no `n` (distribution, catalog). */
export const DEFAULT_ENTRIES = 100;
/** Four thousand names of 255 characters. Registries refuse pages of more than a thousand unless they are configured otherwise. */
const MAX_PAGE_BYTES = 1024 * 1024;

const page = v.object({ repositories: v.nullish(v.array(v.string()), []) });

/** Null: what came is not a page of a catalog. */
export async function readPage(response: Response, pod: PodId, after: string | null): Promise<CatalogPage | null> {
  const text = await textWithin(response, MAX_PAGE_BYTES);
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), page), text ?? "");
  if (!parsed.success) return null;
  // A client could not ask for anything else than a name, and as a cursor it might not fit into a URL or a header.
  const repositories = (parsed.output.repositories ?? []).filter((name) => parseRepositoryName(name).ok);
  const hasMore = response.headers.has("Link");
  // After an empty page there is no place from which to go on.
  return hasMore && repositories.length === 0 ? null : { pod, after, repositories, hasMore };
}

/**
 * At most `entries` names, each once, always the least of the Pods' next names. A Pod that has more than its page may have any name next, so the list
 * ends with that page and no name is left out.
 */
export function mergeCatalog(pages: readonly CatalogPage[], entries: number): Response {
  const queues = pages.map((each) => ({ ...each, taken: 0 }));
  const repositories: string[] = [];
  while (repositories.length < entries) {
    const heads = queues.map(({ repositories: names, taken }) => names[taken] ?? null);
    if (queues.some(({ hasMore }, index) => hasMore && heads[index] === null)) break;
    const least = heads.reduce(
      (one, other) => (one === null || (other !== null && isLess(other, one)) ? other : one),
      null,
    );
    if (least === null) break;
    for (const [index, queue] of queues.entries()) if (heads[index] === least) queue.taken += 1;
    repositories.push(least);
  }
  const last = repositories.at(-1);
  const isLast = queues.every(({ hasMore, repositories: names, taken }) => !hasMore && taken === names.length);
  const link = isLast || last === undefined ? {} : { Link: `<${nextPage(queues, last, entries)}>; rel="next"` };
  return jsonResponse({ repositories }, { headers: { ...apiVersionHeader, ...link } });
}

/**
 * The link has each Pod's own place in addition to the one cursor that clients know. Registries disagree on the order (distribution 3 on S3 has `a-b`
 * before `a`, 2.8 has it after `a/b`), so another Pod's name may be at a different place in a Pod's list.
 */
function nextPage(
  queues: readonly (CatalogPage & { readonly taken: number })[],
  last: string,
  entries: number,
): string {
  const query = withParameters("", { last, n: String(entries) });
  return queues.reduce((link, { pod, after, repositories, taken }) => {
    // It is empty if nothing of this Pod was listed yet, because `last` is another Pod's name.
    const place = repositories[taken - 1] ?? after ?? "";
    return `${link}&${placeParameter}=${encodeURIComponent(`${pod}:${place}`)}`;
  }, `/v2/_catalog?${query}`);
}

const placeParameter = "_after";

/** Where each Pod's list goes on, read from a query that `nextPage` made; null means at its beginning. */
export function parsePlaces(query: string): ReadonlyMap<PodId, string | null> {
  const places = new URLSearchParams(query).getAll(placeParameter).flatMap((text) => {
    const colon = text.indexOf(":");
    const pod = parsePodId(text.slice(0, Math.max(colon, 0)));
    return pod.ok ? [[pod.value, text.slice(colon + 1) || null] as const] : [];
  });
  return new Map(places);
}

export const withoutPlaces = (query: string): string => withoutParameters(query, [placeParameter]);

/** Compares by component, so that `a/b` comes before `a-b` (distribution, `lessPath`). */
function isLess(one: string, other: string): boolean {
  return one.replaceAll("/", "\0") < other.replaceAll("/", "\0");
}
