import * as v from "valibot";
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
import type { Signer, StoreSecret } from "./signer.ts";

/** Every scheme, by its id. A new one is its file, its vectors and a line here. */
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

/** A member of `blobs.stores`: one strict schema per scheme. */
export const storeSchema = v.variant(
  "scheme",
  Object.values(schemes).map(({ config }) => config),
);
export type Store = v.InferOutput<typeof storeSchema>;
/** A store that the edge makes URLs for. */
export type SigningStore = Exclude<Store, { readonly scheme: "pod" }>;

/** A store was parsed by its own scheme's schema, so it fits that scheme's signer: what the types of a table cannot say. */
export const signerOf = (store: SigningStore): Signer<SigningStore, StoreSecret> => schemes[store.scheme];

/** Scheme, host and port that a store's clients dial; null where the Pod's redirect says. */
export const storeOrigin = (store: Store): string | null =>
  store.scheme === "pod" ? null : signerOf(store).origin(store);
