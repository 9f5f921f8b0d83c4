import * as v from "valibot";
import { boundedText } from "../lib/bounded-text.ts";
import { jsonResponse } from "../lib/json-response.ts";
import { apiVersionHeader } from "../oci/errors.ts";
import { withParameters } from "../oci/query.ts";

/** One Pod's page, and whether it has more after it. */
export type CatalogPage = { readonly repositories: readonly string[]; readonly hasMore: boolean };

/** What registries give when no `n` is asked for (distribution, catalog). */
export const DEFAULT_ENTRIES = 100;
/** No registry gives more at once; a page of names of 255 characters stays below 1 MB. */
const MAX_ENTRIES = 1_000;
const MAX_PAGE_BYTES = 1024 * 1024;

const page = v.object({ repositories: v.nullish(v.array(v.string()), []) });

/** The page size that is asked for; null for one that only a registry can judge. */
export function pageSize(n: string | null): number | null {
  if (n === null) return DEFAULT_ENTRIES;
  const entries = /^[1-9]\d{0,5}$/.test(n) ? Number(n) : 0;
  return entries > 0 && entries <= MAX_ENTRIES ? entries : null;
}

/** Null: what came is no page of a catalog. */
export async function readPage(response: Response): Promise<CatalogPage | null> {
  const text = await boundedText(response, MAX_PAGE_BYTES);
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), page), text ?? "");
  if (!parsed.success) return null;
  return { repositories: parsed.output.repositories ?? [], hasMore: response.headers.has("Link") };
}

/**
 * The first `entries` names of all pages in the registries' own order, each once. That is exact: every page holds its Pod's first
 * names after the cursor, as many as are asked for.
 */
export function mergeCatalog(pages: readonly CatalogPage[], entries: number): Response {
  const names = [...new Set(pages.flatMap(({ repositories }) => repositories))].sort(compareNames);
  const repositories = names.slice(0, entries);
  const last = repositories.at(-1);
  const hasMore = names.length > entries || pages.some((each) => each.hasMore);
  const next = `/v2/_catalog?${withParameters("", { last: last ?? null, n: String(entries) })}`;
  const link = hasMore && last !== undefined ? { Link: `<${next}>; rel="next"` } : {};
  return jsonResponse({ repositories }, { headers: { ...apiVersionHeader, ...link } });
}

/** By component, as registries walk their storage: `a/b` comes before `a-b` (distribution, `lessPath`). */
export function compareNames(one: string, other: string): number {
  const [left, right] = [one, other].map((name) => name.replaceAll("/", "\0"));
  if (left === right) return 0;
  return (left ?? "") < (right ?? "") ? -1 : 1;
}
