import { expect, test } from "vitest";
import type { When } from "../../src/signers/store.ts";
import { continentsOf } from "../../src/topology/continents.ts";
import { storeMistakes } from "../../src/topology/store-mistakes.ts";

const stores = (...whens: (When | null)[]) =>
  whens.map((when) => ({ scheme: "pod" as const, ...(when === null ? {} : { when }) }));

test.each<[string, readonly (When | null)[]]>([
  ["no store", []],
  ["one for all", [null]],
  ["near clients first, then the rest", [{ continents: ["EU"] }, { asns: [64_500] }, null]],
  ["a block before the larger one", [{ cidrs: ["10.1.0.0/16"] }, { cidrs: ["10.0.0.0/8", "2001:db8::/32"] }]],
  ["a country that may be on two continents", [{ continents: ["EU"] }, { countries: ["TR"] }]],
  ["countries and their continent", [{ countries: ["DE", "TR"], continents: ["EU"] }]],
  ["Tor", [{ countries: ["T1"] }]],
  ["two members before one of them", [{ countries: ["DE"], asns: [64_500] }, { countries: ["DE"] }]],
  ["IPv4 before all of IPv6", [{ cidrs: ["0.0.0.0/0"] }, { cidrs: ["::/0"] }]],
])("%s has no mistake", (_, whens) => {
  expect(storeMistakes(stores(...whens))).toEqual([]);
});

test.each<[string, readonly (When | null)[], string]>([
  [
    "after one for all",
    [null, { countries: ["DE"] }],
    "stores.1: is never chosen, for stores.0 comes first and has no",
  ],
  ["after one with an empty condition", [{}, null], "stores.1: is never chosen, for stores.0"],
  [
    "for the same clients",
    [{ asns: [1, 2] }, { asns: [2] }],
    "stores.1: is never chosen, for stores.0 comes first and fits",
  ],
  ["for a country of the continent", [{ continents: ["EU"] }, { countries: ["DE"] }], "stores.1: is never chosen"],
  ["for a part of a block", [{ cidrs: ["10.0.0.0/8"] }, { cidrs: ["10.1.0.0/16"], asns: [1] }], "stores.1: is never"],
  ["for the mapped form", [{ cidrs: ["10.0.0.0/8"] }, { cidrs: ["::ffff:10.1.2.3"] }], "stores.1: is never chosen"],
  ["with an empty list", [{ colos: [] }], "stores.0.when.colos: is empty, so it fits no client"],
  ["with an entry twice", [{ colos: ["FRA", "FRA"] }], 'stores.0.when.colos: "FRA" stands there twice'],
  ["with no block", [null, { cidrs: ["10.0.0.0/33"] }], 'stores.1.when.cidrs: "10.0.0.0/33" is no IPv4 or IPv6 block'],
  ["with bits behind the prefix", [{ cidrs: ["10.0.0.1/8"] }], 'stores.0.when.cidrs: "10.0.0.1/8" has bits set'],
  ["with no country", [{ countries: ["UK"] }], 'stores.0.when.countries: "UK" is no ISO 3166-1 alpha-2 code'],
  [
    "on another continent",
    [{ countries: ["DE"], continents: ["NA"] }],
    'countries: "DE" is on none of its continents (NA)',
  ],
])("a store %s is named", (_, whens, mistake) => {
  expect(storeMistakes(stores(...whens)).join("\n")).toContain(mistake);
});

const sealed = { scheme: "bunny", prefix: "", baseUrl: "https://cdn.test", credentials: "sealed" } as const;
const own = { scheme: "pod" } as const;
const german = { when: { countries: ["DE"] } };

test("a store for the same clients may stand in for one whose secret can end", () => {
  expect(storeMistakes([sealed, own])).toEqual([]);
  expect(storeMistakes([{ ...sealed, ...german }, { ...own, ...german }, sealed, own])).toEqual([]);
});

test.each([
  ["one that needs no secret", [own, sealed], 0],
  ["one that needs none, itself a stand-in", [sealed, own, sealed], 1],
  ["one for more clients", [sealed, { ...own, ...german }], 0],
])("but no store stands in for %s", (_, list, before) => {
  expect(storeMistakes(list)).toEqual([expect.stringMatching(`is never chosen, for stores.${before} comes first`)]);
});

test("every country that the platform's own list knows is on a continent", () => {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ".split("");
  const names = new Intl.DisplayNames("en", { type: "region", fallback: "none" });
  // Groups, reserved codes, and names of countries that are no more, each of which the list calls by its successor's code.
  const isCurrent = (code: string) => new Intl.Locale(`und-${code}`).region === code && names.of(code) !== undefined;
  const reserved = ["AC", "CP", "CQ", "DG", "EA", "EU", "EZ", "IC", "QO", "TA", "UN", "XA", "XB", "ZZ"];
  const codes = letters.flatMap((first) => letters.map((second) => first + second)).filter(isCurrent);
  expect(codes.filter((code) => !reserved.includes(code) && continentsOf(code).length === 0)).toEqual([]);
  expect(codes.filter((code) => continentsOf(code).length > 0).length).toBeGreaterThanOrEqual(249);
});
