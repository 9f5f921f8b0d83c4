import * as v from "valibot";
import { parseJson } from "../lib/json.ts";
import { err, ok, type Result } from "../lib/result.ts";
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

/** Every scheme by its id. A new scheme needs its file, its vectors and a line here. */
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

/** The schema of one store in `blobs.stores`. The store's scheme selects the schema. */
export const storeSchema = v.variant(
  "scheme",
  Object.values(schemes).map(({ config }) => config),
);
export type Store = v.InferOutput<typeof storeSchema>;
/** A store that the edge makes URLs for. */
export type SigningStore = Exclude<Store, { readonly scheme: "pod" }>;

/**
 * Returns the signer of a store's scheme. The types cannot show that the signer fits the store. It does fit, because the schema of the same scheme
 * has parsed the store.
 */
export const signerOf = (store: SigningStore): Signer<SigningStore, StoreSecret> => schemes[store.scheme];

/** The scheme, host and port that the clients of a store connect to; null if the Pod's own redirect says where. */
export const storeOrigin = (store: Store): string | null =>
  store.scheme === "pod" ? null : signerOf(store).origin(store);

/**
 * Returns the host and path of a store's blobs. The result has the same form whether the store's URLs have the bucket in the host or in the path.
 * Null if the Pod's own redirect says where. A CDN in front of a bucket counts as another place, because no record says which bucket is behind it.
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
 * Parses the secret that was sealed for a store of this scheme, and imports its keys. The error says what is wrong and what is wanted, but never
 * quotes the secret.
 */
export async function parseSecret(scheme: Scheme, text: string): Promise<Result<StoreSecret, string>> {
  const schema: SecretSchema<StoreSecret> | null = scheme === "pod" ? null : schemes[scheme].secret;
  if (schema === null) return err(`is not needed: scheme "${scheme}" has no secret`);
  const parsed = await v.safeParseAsync(schema, parseJson(text) ?? null);
  return parsed.success ? ok(parsed.output) : err(whatIsWrong(parsed.issues[0]));
}

/**
 * Says what is wrong with a secret, in our own words or in valibot's. If a scheme allows several forms of secrets, the message is about a member that
 * this secret has.
 */
function whatIsWrong(issue: v.BaseIssue<unknown>): string {
  const given = issue.issues?.find(({ input }) => input !== undefined) ?? issue;
  const at = v.getDotPath(given);
  return `is wrong${at === null ? "" : ` at "${at}"`}: want ${given.expected ?? given.message}`;
}
