import fc from "fast-check";
import { expect, test } from "vitest";
import type { PodId } from "../../src/directory/pod-id.ts";
import type { CatalogPage } from "../../src/edge/catalog-page.ts";
import { mergeCatalog, parsePlaces } from "../../src/edge/merge-catalog.ts";
import { repositoryName } from "../support/generators.ts";

/**
 * The orders in which registries list names. distribution 2.8 sorts by component, and so does distribution 3 on a file system. On S3, distribution 3
 * sorts by the bucket's keys.
 */
const orders = {
  byComponent: (name: string) => name.replaceAll("/", "\0"),
  byKey: (name: string) => `${name}/_manifests`,
};
type Registry = { readonly pod: PodId; readonly names: readonly string[]; readonly most: number };

/** Answers as a registry does: with the names after `last` in the registry's own order, even if there is no repository `last`. */
function ask(
  { pod, names, most }: Registry,
  keyOf: (name: string) => string,
  last: string | null,
  n: number,
): CatalogPage {
  const after = last === null ? names : names.filter((name) => keyOf(name) > keyOf(last));
  const repositories = after.slice(0, Math.min(n, most));
  const end = repositories.at(-1) ?? null;
  return { pod, after: last, repositories, end, hasMore: repositories.length < after.length };
}

async function pageThrough(registries: readonly Registry[], keysOf: readonly ((name: string) => string)[], n: number) {
  const found: string[] = [];
  let query = new URLSearchParams();
  for (;;) {
    const places = parsePlaces(query.toString());
    const placeOf = (pod: PodId) => (places.has(pod) ? (places.get(pod) ?? null) : query.get("last"));
    const pages = registries.map((registry, index) => {
      const keyOf = keysOf[index] ?? orders.byComponent;
      return ask(registry, keyOf, placeOf(registry.pod), n);
    });
    const answer = mergeCatalog(pages, n);
    const { repositories } = (await answer.json()) as { repositories: string[] };
    expect(repositories.length).toBeLessThanOrEqual(n);
    found.push(...repositories);
    // Ends the loop even if the cursor does not move.
    if (found.length > 200) return found;
    const next = /^<\/v2\/_catalog\?(.*)>; rel="next"$/.exec(answer.headers.get("Link") ?? "")?.[1];
    if (next === undefined) return found;
    query = new URLSearchParams(next);
    expect([query.get("last"), query.get("n")]).toEqual([repositories.at(-1), String(n)]);
  }
}

const registriesOf = (
  lists: readonly (readonly string[])[],
  keysOf: readonly ((name: string) => string)[],
  most: number,
) =>
  lists.map((names, index) => ({
    pod: `pod-${index}` as PodId,
    most,
    names: [...new Set(names)].sort((one, other) => {
      const keyOf = keysOf[index] ?? orders.byComponent;
      return keyOf(one) < keyOf(other) ? -1 : 1;
    }),
  }));
const names = fc.array(fc.oneof(repositoryName, fc.stringMatching(/^(a|b)([-._/](a|b|0)){0,3}$/)), { maxLength: 12 });
const sizes = { n: fc.integer({ min: 1, max: 6 }), most: fc.integer({ min: 1, max: 4 }) };

test("catalog pages of any size over registries of one order are their sorted union, each name once", async () => {
  const byComponent = [orders.byComponent, orders.byComponent, orders.byComponent];
  await fc.assert(
    fc.asyncProperty(fc.array(names, { minLength: 2, maxLength: 3 }), sizes.n, sizes.most, async (lists, n, most) => {
      const registries = registriesOf(lists, byComponent, most);
      const expected = [...new Set(lists.flat())].sort((one, other) =>
        orders.byComponent(one) < orders.byComponent(other) ? -1 : 1,
      );
      expect(await pageThrough(registries, byComponent, n)).toEqual(expected);
    }),
  );
});

test("in the catalog of registries whose orders differ, no name is lost and none comes twice", async () => {
  const keysOf = [orders.byComponent, orders.byKey];
  await fc.assert(
    fc.asyncProperty(fc.tuple(names, names), sizes.n, sizes.most, async ([one, other], n, most) => {
      const lists = [one, other.filter((name) => !one.includes(name))];
      const found = await pageThrough(registriesOf(lists, keysOf, most), keysOf, n);
      expect(found.toSorted()).toEqual([...new Set(lists.flat())].toSorted());
    }),
  );
});

test("a catalog page of size 0 has no next page", async () => {
  const page = { pod: "pod-a" as PodId, after: null, repositories: ["a"], end: "a", hasMore: true };
  const answer = mergeCatalog([page], 0);
  expect([await answer.json(), answer.headers.get("Link")]).toEqual([{ repositories: [] }, null]);
});
