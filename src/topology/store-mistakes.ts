import { type Cidr, parseCidr } from "../lib/address.ts";
import type { Store } from "../signers/index.ts";
import type { When } from "../signers/store.ts";
import { continentsOf } from "./continents.ts";

/** What is wrong with a Pod's choice of stores, each mistake with its index: entries that choose nobody, and stores that nobody reaches. */
export function storeMistakes(stores: readonly Store[]): readonly string[] {
  return stores.flatMap(({ when = {} }, index) => {
    const at = `stores.${index}`;
    const wrong = [...listMistakes(when), ...countryMistakes(when)].map((mistake) => `${at}.when.${mistake}`);
    const earlier = stores.slice(0, index).findIndex((store) => hides(store, when));
    if (earlier < 0) return wrong;
    const why = isOpen(stores[earlier]?.when ?? {}) ? "has no condition" : "fits all of its clients";
    return [...wrong, `${at}: is never chosen, for stores.${earlier} comes first and ${why}`];
  });
}

const members = ["countries", "continents", "asns", "colos", "cidrs"] as const;

function listMistakes(when: When): readonly string[] {
  return members.flatMap((member) => {
    const entries: readonly (string | number)[] | undefined = when[member];
    if (entries === undefined) return [];
    if (entries.length === 0) return [`${member}: is empty, so it fits no client; leave it out to fit all`];
    const repeated = new Set(entries.filter((entry, index) => entries.indexOf(entry) !== index));
    return [
      ...[...repeated].map((entry) => `${member}: "${entry}" stands there twice`),
      ...(member === "cidrs" ? (when.cidrs ?? []).flatMap(cidrMistake) : []),
    ];
  });
}

function cidrMistake(text: string): readonly string[] {
  const cidr = parseCidr(text);
  if (cidr === null) return [`cidrs: "${text}" is no IPv4 or IPv6 block`];
  const hostBits = text.includes("/") && parseCidr(text.split("/", 1)[0] ?? "")?.bits !== cidr.bits;
  return hostBits ? [`cidrs: "${text}" has bits set behind its prefix; want the block's first address`] : [];
}

/** Cloudflare's own word for Tor, which is on no continent that one could rely on. */
const tor = "T1";

function countryMistakes({ countries = [], continents }: When): readonly string[] {
  return countries
    .filter((country) => country !== tor)
    .flatMap((country) => {
      const possible = continentsOf(country);
      if (possible.length === 0) return [`countries: "${country}" is no ISO 3166-1 alpha-2 code`];
      if (continents === undefined || possible.some((continent) => continents.includes(continent))) return [];
      return [`countries: "${country}" is on none of its continents (${continents.join(", ")}), so it fits no client`];
    });
}

const isOpen = (when: When): boolean => members.every((member) => when[member] === undefined);

/** Whether none of a later store's clients ever gets past this one. Its secret may end: one for the very same clients then stands in. */
function hides(store: Store, later: When): boolean {
  const own = store.when ?? {};
  const standsIn = "credentials" in store && covers(later, own);
  return covers(own, later) && !standsIn;
}

/** Whether all clients of `later` fit `earlier` as well, as far as that can be seen. */
function covers(earlier: When, later: When): boolean {
  return (
    listCovers(earlier.countries, later.countries) &&
    continentsCover(earlier.continents, later) &&
    listCovers(earlier.asns, later.asns) &&
    listCovers(earlier.colos, later.colos) &&
    cidrsCover(earlier.cidrs, later.cidrs)
  );
}

const listCovers = <T>(earlier: readonly T[] | undefined, later: readonly T[] | undefined): boolean =>
  earlier === undefined || (later?.every((entry) => earlier.includes(entry)) ?? false);

/** A country list is within continents when each of its countries can be nowhere else. */
function continentsCover(earlier: When["continents"], later: When): boolean {
  if (listCovers(earlier, later.continents)) return true;
  const countries = later.countries?.map(continentsOf);
  return countries?.every((possible) => possible.length > 0 && listCovers(earlier, possible)) ?? false;
}

function cidrsCover(earlier: When["cidrs"], later: When["cidrs"]): boolean {
  const [blocks, inner] = [earlier, later].map((cidrs) => cidrs?.map(parseCidr).filter((cidr) => cidr !== null));
  if (blocks === undefined) return true;
  return inner?.every((cidr) => blocks.some((block) => contains(block, cidr))) ?? false;
}

const contains = (outer: Cidr, inner: Cidr): boolean =>
  outer.family === inner.family &&
  outer.hostBits >= inner.hostBits &&
  outer.bits >> outer.hostBits === inner.bits >> outer.hostBits;
