import { type PodId, parsePodId } from "../directory/pod-id.ts";
import { jsonResponse } from "../lib/json.ts";
import { apiVersionHeader } from "../oci/errors.ts";
import { withoutParameters, withParameters } from "../oci/query.ts";
import type { CatalogPage } from "./catalog-page.ts";

/** How many names registries list if the request has no `n` (distribution, catalog). */
export const DEFAULT_ENTRIES = 100;

/** Merges the Pods' pages into one list of at most `entries` names, each once. */
export function mergeCatalog(pages: readonly CatalogPage[], entries: number): Response {
  const queues = pages.map((each) => ({ ...each, taken: 0 }));
  const repositories: string[] = [];
  while (repositories.length < entries) {
    const heads = queues.map(({ repositories: names, taken }) => names[taken] ?? null);
    // If a page is used up and its Pod has more names, the list ends, because this Pod's next name is unknown. If a page was empty from the start,
    // because its Pod listed only other Pods' names, the list goes on. Otherwise the client could get many empty lists in a row.
    const ends = (queue: Queue, index: number) => queue.hasMore && queue.taken > 0 && heads[index] === null;
    if (queues.some(ends)) break;
    const least = heads.reduce(
      (one, other) => (one === null || (other !== null && isLess(other, one)) ? other : one),
      null,
    );
    if (least === null) break;
    for (const [index, queue] of queues.entries()) if (heads[index] === least) queue.taken += 1;
    repositories.push(least);
  }
  const isLast = queues.every(({ hasMore, repositories: names, taken }) => !hasMore && taken === names.length);
  const goesOn = !isLast && queues.some((queue) => placeOf(queue) !== queue.after);
  const link = goesOn ? { Link: `<${nextPage(queues, repositories.at(-1) ?? null, entries)}>; rel="next"` } : {};
  return jsonResponse({ repositories }, { headers: { ...apiVersionHeader, ...link } });
}

type Queue = CatalogPage & { readonly taken: number };

/** Returns the name after which the Pod's next page begins. Null means the start of the Pod's list. */
const placeOf = ({ after, repositories, end, taken }: Queue): string | null =>
  (taken === repositories.length ? end : null) ?? repositories[taken - 1] ?? after;

/**
 * Makes the link to the next page, with the name after which each Pod's list goes on. The cursor `last` is not enough, because registries order names
 * differently: distribution 3 on S3 has `a-b` before `a`, and 2.8 has `a-b` after `a/b`.
 */
function nextPage(queues: readonly Queue[], last: string | null, entries: number): string {
  const query = withParameters("", { last, n: String(entries) });
  return queues.reduce((link, queue) => {
    // A Pod from whose list no name was taken yet gets a parameter without a name. Otherwise the Pod would be asked for the names after `last`, which
    // may be another Pod's name.
    const place = placeOf(queue) ?? "";
    return `${link}&${placeParameter}=${encodeURIComponent(`${queue.pod}:${place}`)}`;
  }, `/v2/_catalog?${query}`);
}

const placeParameter = "_after";

/** Reads the query of a link from `nextPage`. Returns for each Pod the name after which its list goes on, or null if its list begins at the start. */
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
