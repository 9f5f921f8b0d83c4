import { generateKeyPairSync } from "node:crypto";
import * as v from "valibot";
import { type Attribution, attributionParameters } from "../../blobs/attribution.ts";
import { objectKey, rootOf } from "../../blobs/sign.ts";
import type { Digest } from "../../oci/digest.ts";
import { type Scheme, type SigningStore, signerOf } from "../../signers/index.ts";
import { signingWindow, type UrlWindow } from "../../signers/window.ts";

/** The URL that a store's signer makes for a blob. It is signed with a made-up secret. */
type Signing = {
  /** The URL without its query. */
  readonly url: string;
  readonly window: UrlWindow;
  /** The names of the parameters in the signed URL's query. */
  readonly parameters: readonly string[];
  /** The text that the signer signs. Null for `public`, and for nginx with MD5, which only hashes. */
  readonly canonical: string | null;
};

const redacted = "REDACTED";
const base64 = Buffer.alloc(32).toString("base64");

/** A made-up secret for each scheme. The signer runs with this secret, because only the Worker can open the real one. */
const standIns: Readonly<Record<Exclude<Scheme, "public" | "pod">, () => object>> = {
  s3: () => ({ accessKeyId: redacted, secretAccessKey: redacted }),
  "s3-v4a": () => ({ accessKeyId: redacted, secretAccessKey: redacted }),
  gcs: () => ({ accessId: redacted, secret: redacted }),
  azure: () => ({ accountKey: base64 }),
  cloudfront: () => ({ keyPairId: redacted, privateKey: standInPem() }),
  "google-cdn": () => ({ keyName: redacted, key: base64 }),
  "media-cdn": () => ({ keyName: redacted, privateKey: base64 }),
  cloudflare: () => ({ key: redacted }),
  akamai: () => ({ key: "00".repeat(32) }),
  bunny: () => ({ key: redacted }),
  nginx: () => ({ secret: redacted }),
};

const standInPem = () =>
  String(generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "pkcs8", format: "pem" }));

/**
 * Returns a made-up secret in the form of an opened one: plain text for a gateway's key, a JSON object for a store's secret. The object is empty for
 * a scheme without secrets.
 */
export const standInSecret = (scheme: string): string =>
  scheme === "gateway" ? base64 : JSON.stringify(standIns[scheme as keyof typeof standIns]?.() ?? {});

type Signed = { readonly store: SigningStore; readonly now: Date; readonly attribution?: Attribution };

export async function explainSigning(digest: Digest, { store, now, attribution = {} }: Signed): Promise<Signing> {
  const signer = signerOf(store);
  const standIn: unknown = JSON.parse(standInSecret(store.scheme));
  const secret = signer.secret === null ? {} : await v.parseAsync(signer.secret, standIn);
  const window = signingWindow(now, null);
  if (window === null) throw new Error("a window without a credential's end is never too short");
  const key = objectKey(digest, store.prefix, rootOf(store));
  const parameters = store.attribution === true ? attributionParameters(attribution) : [];
  const method = "GET" as const;
  const request = { method, key, config: store, secret, window, attribution: parameters, dayKeys: new WeakMap() };
  const url = new URL(await signer.sign(request));
  return {
    url: url.origin + url.pathname,
    window,
    parameters: [...new Set(url.searchParams.keys())],
    canonical: signer.textToSign(request),
  };
}
