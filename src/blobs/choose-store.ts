import type { Directory, Pod } from "../directory/directory.ts";
import { parseIp } from "../lib/address.ts";
import { type AddressRanges, rangesHold, rangesOf } from "../lib/address-ranges.ts";
import type { Store } from "../signers/index.ts";
import type { When } from "../signers/store.ts";
import { healthOrNone, verdictOf } from "./store-health.ts";

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
 * if a store has a condition on it, because workerd makes `cf` from JSON, and `cf` has some hundred members.
 */
export const readClient = (request: Request): Client => new SeenClient(request);

class SeenClient implements Client {
  readonly #request: Request;

  constructor(request: Request) {
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
    return this.#request.headers.get("CF-Connecting-IP");
  }

  #seen(name: string): unknown {
    return (this.#request.cf as Readonly<Record<string, unknown>> | undefined)?.[name];
  }
}

const textOrNull = (value: unknown): string | null => (typeof value === "string" ? value : null);

/** The parsed and sorted CIDRs of records. Each list is parsed only once, because a cloud's list has thousands of entries. */
export type ParsedCidrs = WeakMap<readonly string[], AddressRanges>;

export type StoreChoice = {
  /**
   * The first store is used. If no URL can be signed for it, the next store replaces it. If no store is left, or the next store is `pod`, the client
   * gets the Pod's own answer.
   */
  readonly stores: readonly Store[];
  /** The stores that would have come first if they were not out, each with its reason. Null if no store is passed over. */
  readonly passedOver: string | null;
};

type Ports = { readonly directory: Directory; readonly parsedCidrs: ParsedCidrs };

/** Returns the stores that fit the client: first those that are in, then those that are out, each in the record's order. */
export async function chooseStores(pod: Pod, client: Client, { directory, parsedCidrs }: Ports): Promise<StoreChoice> {
  const fitting = storesFor(pod, client, parsedCidrs);
  // The key `health` is read only if there is a choice.
  if (fitting.length < 2) return { stores: fitting, passedOver: null };
  const health = await healthOrNone(directory);
  const whyOut = (store: Store): string | null => {
    const verdict = verdictOf(health, pod, store);
    if (verdict?.state !== "out") return null;
    return `blobs.stores.${pod.blobs.stores.indexOf(store)} is out since ${verdict.since}: ${verdict.why}`;
  };
  const out = fitting.filter((store) => whyOut(store) !== null);
  const stores = [...fitting.filter((store) => !out.includes(store)), ...out];
  const [first] = stores;
  const before = first === undefined ? [] : fitting.slice(0, fitting.indexOf(first));
  return { stores, passedOver: before.length === 0 ? null : before.map(whyOut).join("; ") };
}

/** Returns the stores that fit the client, in the record's order. */
export const storesFor = (pod: Pod, client: Client, parsedCidrs: ParsedCidrs): readonly Store[] =>
  pod.blobs.stores.filter(({ when }) => when === undefined || fits(when, client, parsedCidrs));

/** The client must fit every given member. What is not known about a client fits nothing. */
function fits({ countries, continents, asns, colos, cidrs }: When, client: Client, parsedCidrs: ParsedCidrs): boolean {
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
