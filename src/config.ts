import * as v from "valibot";
import type { BulkKv, KvWriter } from "./directory/kv.ts";
import { isHost, isOrigin, type PlainHttp } from "./lib/address.ts";
import { parseBase64url } from "./lib/bytes.ts";
import type { EdgeKeys } from "./lib/derive-key.ts";

/** The deployment's variables and secrets, parsed once per isolate. */
export type Config = {
  readonly service: string;
  /** Null means `/jwt/auth` on the request's own origin. This origin is never taken from a forwarding header. */
  readonly realm: string | null;
  readonly auth: "token" | "none";
  readonly plainHttp: PlainHttp;
  /**
   * The host in the URLs of all entries of the location's cache. Cloudflare looks this host up, so it should be a hostname of this Worker. Fleets
   * with different hosts share no entry.
   */
  readonly cacheHost: string;
  /** The sites whose scripts may read answers in a browser. */
  readonly corsOrigins: readonly string[];
  /** The Worker opens sealed values with each of these keys. The first is the newest: doctor compares its `kid` with those of the sealed values. */
  readonly sealingKeys: readonly (JsonWebKey & { readonly kid?: string })[];
  /**
   * From these keys, the edge derives one key for each of three purposes: upload pins, the grants that it gives while a token service fails, and the
   * hashes under which it remembers what token services granted.
   */
  readonly edgeKeys: EdgeKeys;
  /** Null if this deployment has no `/-/probe`. */
  readonly probeToken: string | null;
  /** A body is cut if no byte of it moves for this long. Only tests set another time than a minute. */
  readonly stallMs: number;
  /** How long a store may take to answer a check, and how long the edge then pauses before the next check. Only tests set another time than 5 s. */
  readonly storeCheckMs: number;
  /** The fraction of ordinary requests that get a log line, from 0 to 1. A fault always gets a log line. */
  readonly logSample: number;
};

export type Env = { readonly DIRECTORY: BulkKv & KvWriter } & Readonly<Record<string, unknown>>;

const splitList = (text: string): string[] => text.split(/[\s,]+/).filter((item) => item !== "");
const json = v.pipe(v.string(), v.parseJson());
const edgeKey = v.pipe(
  v.string(),
  v.transform(parseBase64url),
  v.check((key) => key?.byteLength === 32),
  v.transform((key) => key ?? new Uint8Array(32)),
);
const origin = v.pipe(
  v.string(),
  v.check((text) => isOrigin(text) && isHost(new URL(text).host)),
);
/** wrangler.toml may write the number with or without quotes. */
const share = v.pipe(
  v.union([v.string(), v.number()]),
  v.transform(String),
  v.regex(/^[01](\.\d{1,6})?$/),
  v.transform(Number),
  v.maxValue(1),
);
const schema = v.object({
  SERVICE: v.pipe(v.string(), v.regex(/^[A-Za-z0-9._:/-]+$/)),
  REALM: v.optional(v.union([v.literal(""), v.pipe(v.string(), v.url(), v.regex(/^[^"\s]+$/))]), ""),
  AUTH: v.optional(v.picklist(["token", "none"]), "token"),
  // The default is a name that no site can have (RFC 2606 §2).
  CACHE_HOST: v.optional(v.pipe(v.string(), v.check(isHost)), "cache.invalid"),
  PLAIN_HTTP: v.optional(v.picklist(["allow", "refuse"]), "refuse"),
  CORS_ORIGINS: v.optional(v.pipe(v.string(), v.transform(splitList), v.array(origin)), ""),
  SEALING_KEYS: v.optional(v.pipe(json, v.array(v.looseObject({ kty: v.string() })), v.maxLength(2)), "[]"),
  EDGE_KEYS: v.pipe(json, v.array(edgeKey), v.nonEmpty(), v.maxLength(2)),
  STALL_MS: v.optional(v.pipe(v.string(), v.regex(/^[1-9]\d{2,5}$/), v.transform(Number)), "60000"),
  STORE_CHECK_MS: v.optional(v.pipe(v.string(), v.regex(/^[1-9]\d{1,4}$/), v.transform(Number)), "5000"),
  LOG_SAMPLE: v.optional(share, "1"),
  // The token has the form of a Bearer token (RFC 6750 §2.1), and is too long to be guessed.
  PROBE_TOKEN: v.optional(v.union([v.literal(""), v.pipe(v.string(), v.regex(/^[A-Za-z0-9._~+/-]{32,}=*$/))]), ""),
});

/** Throws if the configuration is wrong. The error names the variable, never its value. */
export function parseConfig(env: Env): Config {
  const parsed = v.safeParse(schema, env);
  if (!parsed.success) {
    const issue = parsed.issues[0];
    throw new Error(
      `variable ${v.getDotPath(issue) ?? "?"} is wrong: want ${issue.expected ?? "the form that wrangler.toml describes"}`,
    );
  }
  const values = parsed.output;
  return {
    service: values.SERVICE,
    realm: values.REALM === "" ? null : values.REALM,
    auth: values.AUTH,
    cacheHost: values.CACHE_HOST,
    plainHttp: values.PLAIN_HTTP === "allow" ? "everywhere" : "nowhere",
    corsOrigins: values.CORS_ORIGINS,
    sealingKeys: values.SEALING_KEYS as readonly JsonWebKey[],
    edgeKeys: values.EDGE_KEYS,
    probeToken: values.PROBE_TOKEN === "" ? null : values.PROBE_TOKEN,
    stallMs: values.STALL_MS,
    storeCheckMs: values.STORE_CHECK_MS,
    logSample: values.LOG_SAMPLE,
  };
}
