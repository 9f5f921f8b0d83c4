import { generateKeyPairSync } from "node:crypto";
import * as v from "valibot";
import { objectKey } from "../../blobs/object-key.ts";
import type { Digest } from "../../oci/digest.ts";
import { type Scheme, type SigningStore, signerOf } from "../../signers/index.ts";
import { signingWindow, type UrlWindow } from "../../signers/window.ts";

/** What a store's signer makes of a blob, with a stand-in for every secret. */
type Signing = {
  /** Without its query. */
  readonly url: string;
  readonly window: UrlWindow;
  /** The names of the query's parameters. */
  readonly parameters: readonly string[];
  /** What is signed; null where nothing is, or the scheme does not sign by WebCrypto. */
  readonly canonical: string | null;
};

const redacted = "REDACTED";
const base64 = Buffer.alloc(32).toString("base64");

/** In each scheme's own form, so that its signer can be run without the secret that only the Worker opens. */
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

export async function explainSigning(
  method: "GET" | "HEAD",
  digest: Digest,
  store: SigningStore,
  now: Date,
): Promise<Signing> {
  const signer = signerOf(store);
  const standIn = store.scheme === "public" ? {} : standIns[store.scheme]();
  const secret = signer.secret === null ? {} : await v.parseAsync(signer.secret, standIn);
  const window = signingWindow(now, null);
  if (window === null) throw new Error("a window without a credential's end is never too short");
  const key = objectKey(digest, store.prefix);
  const signing = () =>
    signer.sign({ method, key, config: store, secret, window, attribution: [], dayKeys: new WeakMap() });
  const { result, hashed, signed } = await overhear(signing);
  const url = new URL(result);
  return {
    url: url.origin + url.pathname,
    window,
    parameters: [...new Set(url.searchParams.keys())],
    // Signature Version 4 signs a digest of what is of interest; the others sign that itself.
    canonical: hashed[0] ?? signed.at(-1) ?? null,
  };
}

/** What a signer hands to WebCrypto while it runs: the only place where every scheme's canonical string passes. */
async function overhear<T>(run: () => Promise<T>): Promise<{ result: T; hashed: string[]; signed: string[] }> {
  const [hashed, signed]: [string[], string[]] = [[], []];
  const { subtle } = crypto;
  const [digest, sign] = [subtle.digest.bind(subtle), subtle.sign.bind(subtle)];
  const textOf = (data: BufferSource) => new TextDecoder().decode(data);
  subtle.digest = (algorithm, data) => {
    hashed.push(textOf(data));
    return digest(algorithm, data);
  };
  subtle.sign = (algorithm, key, data) => {
    signed.push(textOf(data));
    return sign(algorithm, key, data);
  };
  try {
    return { result: await run(), hashed, signed };
  } finally {
    Object.assign(subtle, { digest, sign });
  }
}
