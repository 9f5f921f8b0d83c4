import * as v from "valibot";
import { parseJson } from "../lib/json.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { wrongAt } from "../lib/wrong-at.ts";
import { akamai } from "./akamai.ts";
import { azure } from "./azure.ts";
import { bunny } from "./bunny.ts";
import { cloudflare } from "./cloudflare.ts";
import { cloudfront } from "./cloudfront.ts";
import { gcs } from "./gcs.ts";
import { googleCdn } from "./google-cdn.ts";
import { mediaCdn } from "./media-cdn.ts";
import { nginx } from "./nginx.ts";
import { pod } from "./pod.ts";
import { publicStore } from "./public.ts";
import { s3 } from "./s3.ts";
import { s3V4a } from "./s3-v4a.ts";
import type { SecretSchema, Signer, StoreSecret } from "./signer.ts";

/** CONTRIBUTING.md lists the steps for a new scheme. */
export const schemes = {
  s3,
  "s3-v4a": s3V4a,
  gcs,
  azure,
  cloudfront,
  "google-cdn": googleCdn,
  "media-cdn": mediaCdn,
  cloudflare,
  akamai,
  bunny,
  nginx,
  public: publicStore,
  pod,
} as const;

export type Scheme = keyof typeof schemes;

/** The schema of one entry of `blobs.stores` in a Pod record. The entry's `scheme` decides which other members it has. */
export const storeSchema = v.variant(
  "scheme",
  Object.values(schemes).map(({ config }) => config),
);
export type Store = v.InferOutput<typeof storeSchema>;
/** A store for which the edge makes URLs. With the scheme `pod`, the Pod makes them. */
export type SigningStore = Exclude<Store, { readonly scheme: "pod" }>;

/** The signer fits the store, because the schema of the same scheme has parsed the store. */
export const signerOf = (store: SigningStore): Signer<SigningStore, StoreSecret> => schemes[store.scheme];

/** Returns the origin to which a client of the store connects. Null for the scheme `pod`, because only the Pod knows where it redirects. */
export const storeOrigin = (store: Store): string | null =>
  store.scheme === "pod" ? null : signerOf(store).origin(store);

/**
 * Returns the host and path where a store has its blobs, or null for the scheme `pod`. The result is the same whether URLs have the bucket in the
 * host or in the path. A CDN and the bucket behind it are two places, because no record says which bucket is behind a CDN.
 */
export function storePlace(store: Store): string | null {
  if (store.scheme === "pod") return null;
  const { host } = new URL("endpoint" in store ? store.endpoint : store.baseUrl);
  const isNamed = "bucket" in store && store.addressing !== "bound-host";
  const account = "container" in store && store.addressing === "path" ? store.account : "";
  const container = "container" in store ? store.container : "";
  const names = [isNamed ? `${store.bucket}.${host}` : host, account, container, store.prefix];
  return names.filter((name) => name !== "").join("/");
}

/**
 * Parses the opened secret of a store of this scheme, and imports its keys. The error says what is wrong and what is wanted, but never quotes the
 * secret.
 */
export async function parseSecret(scheme: Scheme, text: string): Promise<Result<StoreSecret, string>> {
  const schema: SecretSchema<StoreSecret> | null = scheme === "pod" ? null : schemes[scheme].secret;
  if (schema === null) return err(`is not needed: scheme "${scheme}" has no secret`);
  const parsed = await v.safeParseAsync(schema, parseJson(text) ?? null);
  return parsed.success ? ok(parsed.output) : err(whatIsWrong(parsed.issues[0]));
}

/**
 * Says what is wrong with a secret. If the scheme has several forms of secrets, valibot reports the problems of each form. We take the first problem
 * with a member that the secret has, because the operator probably meant the form with this member.
 */
function whatIsWrong(issue: v.BaseIssue<unknown>): string {
  const given = issue.issues?.find(({ input }) => input !== undefined) ?? issue;
  return wrongAt(v.getDotPath(given), given);
}
