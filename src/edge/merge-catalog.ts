import * as v from "valibot";
import { type PodId, parsePodId } from "../directory/pod-id.ts";
import { jsonResponse } from "../lib/json.ts";
import { textWithin } from "../net/body.ts";
import { apiVersionHeader } from "../oci/errors.ts";
import { withoutParameters, withParameters } from "../oci/query.ts";
import { parseRepositoryName } from "../oci/repository-name.ts";

/** One Pod's page: what it lists after `after`, in its own order, and whether it has more. */
export type CatalogPage = {
  readonly pod: PodId;
  readonly after: string | null;
  readonly repositories: readonly string[];
  readonly hasMore: boolean;
};

/** What registries give when no `n` is asked for (distribution, catalog). */
export const DEFAULT_ENTRIES = 100;
/** Four thousand names of 255 characters; registries refuse pages over a thousand unless told otherwise. */
const MAX_PAGE_BYTES = 1024 * 1024;

const page = v.object({ repositories: v.nullish(v.array(v.string()), []) });

/** Null: what came is no page of a catalog. */
export async function readPage(response: Response, pod: PodId, after: string | null): Promise<CatalogPage | null> {
  const text = await textWithin(response, MAX_PAGE_BYTES);
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), page), text ?? "");
  if (!parsed.success) return null;
  // What is no name, no client could ask for; and as a cursor it might be no URL, or no header.
  const repositories = (parsed.output.repositories ?? []).filter((name) => parseRepositoryName(name).ok);
  const hasMore = response.headers.has("Link");
  // With nothing on the page there is no place to go on from.
  return hasMore && repositories.length === 0 ? null : { pod, after, repositories, hasMore };
}

/**
 * At most `entries` names, each once, always the least of the Pods' next ones. A Pod that has more than its page says nothing of what comes
 * then, so the list ends with that page, and no name is passed over.
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
 * Beside the one cursor that clients know, each Pod's own place: registries disagree on the order (distribution 3 on S3 has `a-b` before
 * `a`, 2.8 after `a/b`), so that another Pod's name may stand elsewhere in a Pod's list.
 */
function nextPage(
  queues: readonly (CatalogPage & { readonly taken: number })[],
  last: string,
  entries: number,
): string {
  const query = withParameters("", { last, n: String(entries) });
  return queues.reduce((link, { pod, after, repositories, taken }) => {
    // Empty: nothing of this Pod has been listed, and `last`, which is another's name, must not stand for it.
    const place = repositories[taken - 1] ?? after ?? "";
    return `${link}&${placeParameter}=${encodeURIComponent(`${pod}:${place}`)}`;
  }, `/v2/_catalog?${query}`);
}

const placeParameter = "_after";

/** Where each Pod's list goes on, out of a query that `nextPage` made; null: at its beginning. */
export function parsePlaces(query: string): ReadonlyMap<PodId, string | null> {
  const places = new URLSearchParams(query).getAll(placeParameter).flatMap((text) => {
    const colon = text.indexOf(":");
    const pod = parsePodId(text.slice(0, Math.max(colon, 0)));
    return pod.ok ? [[pod.value, text.slice(colon + 1) || null] as const] : [];
  });
  return new Map(places);
}

export const withoutPlaces = (query: string): string => withoutParameters(query, [placeParameter]);

/** By component: `a/b` comes before `a-b` (distribution, `lessPath`). */
function isLess(one: string, other: string): boolean {
  return one.replaceAll("/", "\0") < other.replaceAll("/", "\0");
}
