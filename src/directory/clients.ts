import { type Ip, parseIp } from "../lib/address.ts";
import { type AddressRanges, rangesHold, rangesOf } from "../lib/address-ranges.ts";
import type { When } from "../signers/store.ts";

/** Where a client is, as Cloudflare sees it. A value that Cloudflare does not know is null. */
export type Client = {
  /** ISO 3166-1 alpha-2, or `T1` for Tor. */
  readonly country: string | null;
  readonly continent: string | null;
  readonly asn: number | null;
  /** The Cloudflare location that the client is connected to, as an IATA code. */
  readonly colo: string | null;
  readonly ip: string | null;
  /**
   * `ip`, parsed once, because a request may be compared with hundreds of conditions. If this member is missing, `ip` is parsed again for each
   * condition.
   */
  readonly address?: Ip | null;
};

/** A client about which nothing is known. It fits only an empty condition. */
export const unknownClient: Client = { country: null, continent: null, asn: null, colo: null, ip: null };

/**
 * Clients cannot forge these values, because Cloudflare sets `cf` and overwrites `CF-Connecting-IP`. Each value is read only when a condition asks
 * for it, because the first read of `cf` makes workerd parse JSON with about a hundred members.
 */
export const readClient = (request: Asking): Client => new SeenClient(request);

type Asking = Pick<Request, "headers" | "cf">;

/** This is a class, so that its getters are defined only once. An object literal would define them for each request, which takes 3 µs. */
class SeenClient implements Client {
  readonly #request: Asking;
  #ip: string | null | undefined;
  #address: Ip | null | undefined;

  constructor(request: Asking) {
    this.#request = request;
  }

  get country(): string | null {
    return textOrNull(this.#seen("country"));
  }

  get continent(): string | null {
    return textOrNull(this.#seen("continent"));
  }

  get asn(): number | null {
    const asn = this.#seen("asn");
    return typeof asn === "number" ? asn : null;
  }

  get colo(): string | null {
    return textOrNull(this.#seen("colo"));
  }

  get ip(): string | null {
    if (this.#ip === undefined) this.#ip = this.#request.headers.get("CF-Connecting-IP");
    return this.#ip;
  }

  get address(): Ip | null {
    if (this.#address === undefined) this.#address = parsedIp(this);
    return this.#address;
  }

  #seen(name: string): unknown {
    return (this.#request.cf as Readonly<Record<string, unknown>> | undefined)?.[name];
  }
}

const textOrNull = (value: unknown): string | null => (typeof value === "string" ? value : null);

/** The parsed ranges of each list of CIDRs. A list is parsed only once, because the list of a cloud provider has thousands of entries. */
export type ParsedCidrs = WeakMap<readonly string[], AddressRanges>;

/** Whether the client fits every member of the condition. An unknown property of the client, such as its country, fits no list of the condition. */
export function fits(
  { countries, continents, asns, colos, cidrs }: When,
  client: Client,
  parsedCidrs: ParsedCidrs,
): boolean {
  return (
    (countries === undefined || isIn(countries, client.country)) &&
    (continents === undefined || isIn(continents, client.continent)) &&
    (asns === undefined || isIn(asns, client.asn)) &&
    (colos === undefined || isIn(colos, client.colo)) &&
    (cidrs === undefined || contains(parse(cidrs, parsedCidrs), client))
  );
}

const isIn = <T>(entries: readonly T[], known: T | null): boolean => known !== null && entries.includes(known);

function contains(ranges: AddressRanges, client: Client): boolean {
  const address = client.address === undefined ? parsedIp(client) : client.address;
  return address !== null && rangesHold(ranges, address);
}

const parsedIp = ({ ip }: Pick<Client, "ip">): Ip | null => (ip === null ? null : parseIp(ip));

function parse(cidrs: readonly string[], parsedCidrs: ParsedCidrs): AddressRanges {
  const ranges = parsedCidrs.get(cidrs) ?? rangesOf(cidrs);
  parsedCidrs.set(cidrs, ranges);
  return ranges;
}
