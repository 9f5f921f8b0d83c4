import * as v from "valibot";
import { isOrigin, parseCidr } from "../lib/address.ts";
import { encodePath } from "./encode.ts";

/** The clients that a store is for. A client must fit at least one entry of every member that is given. */
export const when = v.strictObject({
  /** ISO 3166-1 alpha-2, or Cloudflare's `T1` for Tor. */
  countries: v.optional(v.array(v.pipe(v.string(), v.regex(/^[A-Z][A-Z1]$/)))),
  continents: v.optional(v.array(v.picklist(["AF", "AN", "AS", "EU", "NA", "OC", "SA"]))),
  asns: v.optional(v.array(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(0xffffffff)))),
  /** The Cloudflare location that the client is connected to, as an IATA code. */
  colos: v.optional(v.array(v.pipe(v.string(), v.regex(/^[A-Z]{3}$/)))),
  cidrs: v.optional(
    v.array(
      v.pipe(
        v.string(),
        v.check((text) => parseCidr(text) !== null, "a block of IPv4 or IPv6 addresses, as in 192.0.2.0/24"),
      ),
    ),
  ),
});
export type When = v.InferOutput<typeof when>;

/** A directory in the bucket, without slashes at its ends. Dot segments are refused, because a client's URL parser would resolve them. */
const prefix = v.pipe(
  v.string(),
  v.check(
    (text) => text === "" || (text.isWellFormed() && text.split("/").every((name) => !["", ".", ".."].includes(name))),
    "a path without slashes at its ends and without dot segments",
  ),
);

/** The schema of the stores of one scheme. It changes no value that the operator wrote, so its output can be written to KV. */
export const storeConfig = <const Scheme extends string, const Entries extends v.ObjectEntries>(
  scheme: Scheme,
  entries: Entries,
) => v.strictObject({ scheme: v.literal(scheme), when: v.optional(when), ...entries });

/** Every store has these members, unless the Pod makes its URLs (scheme `pod`). */
export const located = {
  /** The registry's root directory in the store. */
  prefix: v.optional(prefix, ""),
  /** Whether each URL names the repository and its project in the query, so that the store's log shows them. */
  attribution: v.optional(v.boolean()),
};

export const nonEmpty = v.pipe(
  v.string(),
  v.check((text) => text !== "", "a text that is not empty"),
);
export const sealed = nonEmpty;

export const originUrl = v.pipe(
  v.string(),
  v.url(),
  v.check(isOrigin, "an origin: scheme, host and port (a path goes into `prefix`)"),
);

/**
 * Where a URL has the bucket. `path`: at the start of its path. `virtual-host`: before the endpoint's host. `bound-host`: nowhere, because the
 * endpoint's host is for one bucket only.
 */
export const bucketEntries = {
  bucket: v.pipe(v.string(), v.regex(/^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$/)),
  addressing: v.optional(v.picklist(["path", "virtual-host", "bound-host"]), "path"),
};
type BucketConfig = {
  readonly endpoint: string;
  readonly bucket: string;
  readonly addressing: "path" | "virtual-host" | "bound-host";
};

export function bucketOrigin({ endpoint, bucket, addressing }: BucketConfig): string {
  const { protocol, host } = new URL(endpoint);
  return addressing === "virtual-host" ? `${protocol}//${bucket}.${host}` : `${protocol}//${host}`;
}

/**
 * Refuses an endpoint at an IP address if its buckets are virtual hosts, because an address has no hosts below it. An endpoint that is no URL passes,
 * because `originUrl` refuses it already.
 */
export const hasBucketOrigin = <Config extends BucketConfig>() =>
  v.check(
    (config: Config) => !URL.canParse(config.endpoint) || URL.canParse(bucketOrigin(config)),
    "a host name as `endpoint` for `addressing: virtual-host`",
  );

/** The escaped path of an object on {@link bucketOrigin}. */
export const objectPath = ({ bucket, addressing }: BucketConfig, key: string): string =>
  encodePath(addressing === "path" ? `/${bucket}/${key}` : `/${key}`);

/** The members of every CDN's store. A URL's path is the object's key, so the root of the CDN's host must be the root of the bucket. */
export const cdnEntries = { ...located, baseUrl: originUrl };
type CdnConfig = { readonly baseUrl: string };
export const atBaseUrl = {
  target: ({ baseUrl }: CdnConfig): string => baseUrl,
  origin: ({ baseUrl }: CdnConfig): string => baseUrl,
};

export const parameterName = v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]+$/));
