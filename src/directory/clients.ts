import { parseIp } from "../lib/address.ts";
import { type AddressRanges, rangesHold, rangesOf } from "../lib/address-ranges.ts";
import type { When } from "../signers/store.ts";

/** Where a client is, as the platform saw it; null where that is not known. */
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
 * Reads only what the platform adds to a request. Clients cannot set these values, because Cloudflare overwrites `CF-Connecting-IP`. A value is read only
 * if there is a condition on it, because workerd makes `cf` from JSON, and `cf` has some hundred members.
 */
export function readClient(request: Pick<Request, "headers" | "cf">): Client {
  const seen = (name: string): unknown => (request.cf as Readonly<Record<string, unknown>> | undefined)?.[name];
  const textOf = (name: string): string | null => textOrNull(seen(name));
  return {
    get country() {
      return textOf("country");
    },
    get continent() {
      return textOf("continent");
    },
    get asn() {
      const asn = seen("asn");
      return typeof asn === "number" ? asn : null;
    },
    get colo() {
      return textOf("colo");
    },
    get ip() {
      return request.headers.get("CF-Connecting-IP");
    },
  };
}

const textOrNull = (value: unknown): string | null => (typeof value === "string" ? value : null);

/** The parsed and sorted CIDRs of records. Each list is parsed only once, because a cloud's list has thousands of entries. */
export type ParsedCidrs = WeakMap<readonly string[], AddressRanges>;

/** Whether the client fits every given member. What is not known about a client fits nothing. */
export function fits(
  { countries, continents, asns, colos, cidrs }: When,
  client: Client,
  parsedCidrs: ParsedCidrs,
): boolean {
  return (
    isListed(countries, client.country) &&
    isListed(continents, client.continent) &&
    isListed(asns, client.asn) &&
    isListed(colos, client.colo) &&
    (cidrs === undefined || contains(parse(cidrs, parsedCidrs), client.ip))
  );
}

const isListed = <T>(entries: readonly T[] | undefined, known: T | null): boolean =>
  entries === undefined || (known !== null && entries.includes(known));

function contains(ranges: AddressRanges, address: string | null): boolean {
  const ip = address === null ? null : parseIp(address);
  return ip !== null && rangesHold(ranges, ip);
}

function parse(cidrs: readonly string[], parsedCidrs: ParsedCidrs): AddressRanges {
  const ranges = parsedCidrs.get(cidrs) ?? rangesOf(cidrs);
  parsedCidrs.set(cidrs, ranges);
  return ranges;
}
