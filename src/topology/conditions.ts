/** Checks and compares the conditions under which a store is chosen or a group may be used. Pure. */
import { parseCidr } from "../lib/address.ts";
import { rangesCover, rangesOf } from "../lib/address-ranges.ts";
import type { When } from "../signers/store.ts";
import { continentsOf } from "./continents.ts";

/** The mistakes are entries that fit no client, and duplicates. Each text begins with the member's name. */
export const conditionMistakes = (when: When): readonly string[] => [...listMistakes(when), ...countryMistakes(when)];

const members = ["countries", "continents", "asns", "colos", "cidrs"] as const;

function listMistakes(when: When): readonly string[] {
  return members.flatMap((member) => {
    const entries: readonly (string | number)[] | undefined = when[member];
    if (entries === undefined) return [];
    if (entries.length === 0) return [`${member}: is empty, so it fits no client; leave it out to fit all`];
    const repeated = [...Map.groupBy(entries, (entry) => entry)].filter(([, same]) => same.length > 1);
    return [
      ...repeated.map(([entry]) => `${member}: duplicate "${entry}"; remove one of the two`),
      ...(member === "cidrs" ? (when.cidrs ?? []).flatMap(cidrMistake) : []),
    ];
  });
}

function cidrMistake(text: string): readonly string[] {
  const cidr = parseCidr(text);
  if (cidr === null) return [`cidrs: "${text}" is not an IPv4 or IPv6 block`];
  const hostBits = text.includes("/") && parseCidr(text.split("/", 1)[0] ?? "")?.bits !== cidr.bits;
  return hostBits ? [`cidrs: "${text}" has bits set after its prefix; want the block's first address`] : [];
}

/** Cloudflare's own code for Tor. It goes with every continent, because a client of Tor may be on any. */
const tor = "T1";

function countryMistakes({ countries = [], continents }: When): readonly string[] {
  return countries
    .filter((country) => country !== tor)
    .flatMap((country) => {
      const possible = continentsOf(country);
      if (possible.length === 0) return [`countries: "${country}" is not an ISO 3166-1 alpha-2 code`];
      if (continents === undefined || possible.some((continent) => continents.includes(continent))) return [];
      return [`countries: "${country}" is on none of the continents (${continents.join(", ")}), so it fits no client`];
    });
}

/** Whether the condition is empty, so that all clients fit it. */
export const isOpen = (when: When): boolean => members.every((member) => when[member] === undefined);

/** Whether every client that fits `later` also fits `earlier`. False if this is not certain. */
export function covers(earlier: When, later: When): boolean {
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

/**
 * Whether every client that fits the condition `later` is on one of the continents `earlier`. If a country of `later` may be on several continents,
 * `earlier` must have all of them.
 */
function continentsCover(earlier: When["continents"], later: When): boolean {
  if (listCovers(earlier, later.continents)) return true;
  const countries = later.countries?.map(continentsOf);
  return countries?.every((possible) => possible.length > 0 && listCovers(earlier, possible)) ?? false;
}

const cidrsCover = (earlier: When["cidrs"], later: When["cidrs"]): boolean =>
  earlier === undefined || (later !== undefined && rangesCover(rangesOf(earlier), rangesOf(later)));
