import * as v from "valibot";
import { parseCidr } from "../lib/address.ts";

export const cloudNames = ["aws", "google", "azure"] as const;
export type CloudName = (typeof cloudNames)[number];

const path = v.optional(v.pipe(v.string(), v.nonEmpty()));
/** The path of each cloud's file, relative to the topology file. */
export const cloudPaths = v.strictObject({ aws: path, google: path, azure: path });

/** The region is "" if the range has none. */
type Entry = readonly [region: string, cidr: string];
/** `publishedAt` is null if the file does not say when it was published. */
type Content = { readonly publishedAt: Date | null; readonly entries: readonly Entry[] };
type Format = { readonly name: string; readonly schema: v.GenericSchema<unknown, Content> };

const cidr = v.pipe(
  v.string(),
  v.check((text) => parseCidr(text) !== null, "a block of IPv4 or IPv6 addresses"),
);

/** Parses a time that is not in the form of ISO 8601. */
const timeOf = (form: RegExp, toIso: (text: string) => string) =>
  v.pipe(
    v.string(),
    v.regex(form),
    v.transform((text) => new Date(toIso(text))),
    v.check((date) => !Number.isNaN(date.getTime()), "a time"),
  );

/** https://docs.aws.amazon.com/vpc/latest/userguide/aws-ip-syntax.html */
const aws = v.pipe(
  v.object({
    createDate: timeOf(/^\d{4}(-\d\d){5}$/, (text) => text.replace(/-(\d\d)-(\d\d)-(\d\d)$/, "T$1:$2:$3Z")),
    prefixes: v.array(v.object({ ip_prefix: cidr, region: v.string() })),
    ipv6_prefixes: v.array(v.object({ ipv6_prefix: cidr, region: v.string() })),
  }),
  v.transform(
    ({ createDate, prefixes, ipv6_prefixes }): Content => ({
      publishedAt: createDate,
      entries: [
        ...prefixes.map(({ region, ip_prefix }): Entry => [region, ip_prefix]),
        ...ipv6_prefixes.map(({ region, ipv6_prefix }): Entry => [region, ipv6_prefix]),
      ],
    }),
  ),
);

/** https://www.gstatic.com/ipranges/cloud.json. The larger goog.json has no regions. */
const google = v.pipe(
  v.object({
    // Google gives no time zone. The time is California's, but we read it as UTC, so a file seems up to 8 hours older than it is.
    creationTime: timeOf(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?$/, (text) => `${text.slice(0, 19)}Z`),
    prefixes: v.array(
      v.union([v.object({ ipv4Prefix: cidr, scope: v.string() }), v.object({ ipv6Prefix: cidr, scope: v.string() })]),
    ),
  }),
  v.transform(
    ({ creationTime, prefixes }): Content => ({
      publishedAt: creationTime,
      entries: prefixes.map((prefix) => [prefix.scope, "ipv4Prefix" in prefix ? prefix.ipv4Prefix : prefix.ipv6Prefix]),
    }),
  ),
);

/**
 * https://learn.microsoft.com/azure/virtual-network/service-tags-overview. The tag `AzureCloud` has all addresses, and `AzureCloud.<region>` has all
 * of one region. The other tags are for Azure's own services.
 */
const azure = v.pipe(
  v.object({
    values: v.array(
      v.object({
        name: v.string(),
        properties: v.object({ region: v.string(), addressPrefixes: v.array(cidr) }),
      }),
    ),
  }),
  v.transform(
    ({ values }): Content => ({
      publishedAt: null,
      entries: values
        .filter(({ name }) => name === "AzureCloud" || name.startsWith("AzureCloud."))
        .flatMap(({ properties: { region, addressPrefixes } }) => addressPrefixes.map((text): Entry => [region, text])),
    }),
  ),
);

export const cloudFormats: Readonly<Record<CloudName, Format>> = {
  aws: { name: "AWS's ip-ranges.json", schema: aws },
  google: { name: "Google's cloud.json", schema: google },
  azure: { name: "Azure's ServiceTags_Public.json", schema: azure },
};
