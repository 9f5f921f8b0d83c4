import type { Pod } from "../directory/directory.ts";
import { type Cidr, cidrHolds, parseCidr, parseIp } from "../lib/address.ts";
import type { Store } from "../signers/index.ts";
import type { When } from "../signers/store.ts";

/** Where a client is, as the platform saw it come in; null where that is not known. */
export type Client = {
  /** ISO 3166-1 alpha-2, or `T1` for Tor. */
  readonly country: string | null;
  readonly continent: string | null;
  readonly asn: number | null;
  /** IATA code of the Cloudflare location. */
  readonly colo: string | null;
  readonly ip: string | null;
};

/**
 * The stores that fit the client. The first is the one, those behind it stand in while it cannot be signed for. Where there is none, or where the
 * Pod's turn comes to redirect by itself, the Pod's own answer stands.
 */
export const storesFor = (pod: Pod, client: Client): readonly Store[] =>
  pod.blobs.stores.filter(({ when }) => when === undefined || fits(when, client));

/** Every member given must fit; what is not known of a client fits none. */
function fits({ countries, continents, asns, colos, cidrs }: When, client: Client): boolean {
  return (
    listed(countries, client.country) &&
    listed(continents, client.continent) &&
    listed(asns, client.asn) &&
    listed(colos, client.colo) &&
    (cidrs === undefined || holds(cidrs, client.ip))
  );
}

const listed = <T>(entries: readonly T[] | undefined, known: T | null): boolean =>
  entries === undefined || (known !== null && entries.includes(known));

function holds(cidrs: readonly string[], address: string | null): boolean {
  const ip = address === null ? null : parseIp(address);
  return ip !== null && blocksOf(cidrs).some((cidr) => cidrHolds(cidr, ip));
}

/** Parsed once for a record: a cloud's list has thousands. */
const parsedBlocks = new WeakMap<readonly string[], readonly Cidr[]>();

function blocksOf(cidrs: readonly string[]): readonly Cidr[] {
  const known = parsedBlocks.get(cidrs);
  if (known !== undefined) return known;
  const blocks = cidrs.map(parseCidr).filter((cidr) => cidr !== null);
  parsedBlocks.set(cidrs, blocks);
  return blocks;
}
