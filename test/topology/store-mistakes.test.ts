import { describe, expect, test } from "vitest";
import type { When } from "../../src/signers/store.ts";
import { continentsOf } from "../../src/topology/continents.ts";
import { storeMistakes } from "../../src/topology/store-mistakes.ts";

const stores = (...whens: (When | null)[]) =>
  whens.map((when) => ({ scheme: "pod" as const, ...(when === null ? {} : { when }) }));

const mistakesOf = (list: Parameters<typeof storeMistakes>[0]) =>
  storeMistakes(list).map(({ store, text }) => `stores.${store}: ${text}`);

describe("the stores of a Pod are right if there are", () => {
  test.each<[string, readonly (When | null)[]]>([
    ["no stores", []],
    ["one store for all", [null]],
    ["stores near some clients before one for the rest", [{ continents: ["EU"] }, { asns: [64_500] }, null]],
    ["an address block before a larger one", [{ cidrs: ["10.1.0.0/16"] }, { cidrs: ["10.0.0.0/8", "2001:db8::/32"] }]],
    ["a continent before a country that may be on two continents", [{ continents: ["EU"] }, { countries: ["TR"] }]],
    ["countries together with their continent", [{ countries: ["DE", "TR"], continents: ["EU"] }]],
    ["clients of Tor", [{ countries: ["T1"] }]],
    ["two conditions before one of them", [{ countries: ["DE"], asns: [64_500] }, { countries: ["DE"] }]],
    ["all of IPv4 before all of IPv6", [{ cidrs: ["0.0.0.0/0"] }, { cidrs: ["::/0"] }]],
  ])("%s", (_, whens) => {
    expect(mistakesOf(stores(...whens))).toEqual([]);
  });
});

describe("a store is reported if it", () => {
  test.each<[string, readonly (When | null)[], string]>([
    [
      "comes after one for all",
      [null, { countries: ["DE"] }],
      "stores.1: is never chosen, because stores.0 comes first and has no",
    ],
    ["comes after one with an empty condition", [{}, null], "stores.1: is never chosen, because stores.0"],
    [
      "comes after one for the same clients",
      [{ asns: [1, 2] }, { asns: [2] }],
      "stores.1: is never chosen, because stores.0 comes first and fits",
    ],
    [
      "is for a country of an earlier continent",
      [{ continents: ["EU"] }, { countries: ["DE"] }],
      "stores.1: is never chosen",
    ],
    [
      "is for a part of an earlier block",
      [{ cidrs: ["10.0.0.0/8"] }, { cidrs: ["10.1.0.0/16"], asns: [1] }],
      "stores.1: is never",
    ],
    [
      "is for the IPv6-mapped form of an earlier block",
      [{ cidrs: ["10.0.0.0/8"] }, { cidrs: ["::ffff:10.1.2.3"] }],
      "stores.1: is never chosen",
    ],
    ["has an empty list", [{ colos: [] }], "stores.0: when.colos: is empty, so it fits no client"],
    ["has a duplicate entry", [{ colos: ["FRA", "FRA"] }], 'stores.0: when.colos: duplicate "FRA"'],
    [
      "has something that is not an address block",
      [null, { cidrs: ["10.0.0.0/33"] }],
      'stores.1: when.cidrs: "10.0.0.0/33" is not an IPv4 or IPv6 block',
    ],
    ["has bits after a prefix", [{ cidrs: ["10.0.0.1/8"] }], 'stores.0: when.cidrs: "10.0.0.1/8" has bits set'],
    [
      "has something that is not a country",
      [{ countries: ["UK"] }],
      'stores.0: when.countries: "UK" is not an ISO 3166-1 alpha-2 code',
    ],
    [
      "has a country on another continent",
      [{ countries: ["DE"], continents: ["NA"] }],
      'countries: "DE" is on none of the continents (NA)',
    ],
  ])("%s", (_, whens, mistake) => {
    expect(mistakesOf(stores(...whens)).join("\n")).toContain(mistake);
  });
});

const sealed = { scheme: "bunny", prefix: "", baseUrl: "https://cdn.test", credentials: "sealed" } as const;
const own = { scheme: "pod" } as const;
const german = { when: { countries: ["DE"] } };

test("a store for the same clients may follow one whose secret can expire", () => {
  expect(mistakesOf([sealed, own])).toEqual([]);
  expect(mistakesOf([{ ...sealed, ...german }, { ...own, ...german }, sealed, own])).toEqual([]);
});

test("a store for the same clients may follow one that needs no secret, because that one can be out", () => {
  const open = { scheme: "public", prefix: "", baseUrl: "https://mirror.test" } as const;
  expect(mistakesOf([open, sealed])).toEqual([]);
  expect(mistakesOf([{ ...open, ...german }, { ...sealed, ...german }, open, own])).toEqual([]);
});

test.each([
  ["one that needs no secret", [own, sealed], 0],
  ["two, of which the second needs no secret", [sealed, own, sealed], 1],
  ["one whose secret can expire, but which is for more clients", [sealed, { ...own, ...german }], 0],
])("a store is never chosen if it follows %s", (_, list, before) => {
  expect(mistakesOf(list)).toEqual([expect.stringMatching(`is never chosen, because stores.${before} comes first`)]);
});

test("every country that the platform's own list knows is on a continent", () => {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ".split("");
  const names = new Intl.DisplayNames("en", { type: "region", fallback: "none" });
  // `Intl.DisplayNames` also names groups, reserved codes, and countries that no longer exist. `Intl.Locale` replaces the code of a former country by
  // its successor's.
  const isCurrent = (code: string) => new Intl.Locale(`und-${code}`).region === code && names.of(code) !== undefined;
  const reserved = ["AC", "CP", "CQ", "DG", "EA", "EU", "EZ", "IC", "QO", "TA", "UN", "XA", "XB", "ZZ"];
  const codes = letters.flatMap((first) => letters.map((second) => first + second)).filter(isCurrent);
  expect(codes.filter((code) => !reserved.includes(code) && continentsOf(code).length === 0)).toEqual([]);
  expect(codes.filter((code) => continentsOf(code).length > 0).length).toBeGreaterThanOrEqual(249);
});
