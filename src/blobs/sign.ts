import type { Pod } from "../directory/directory.ts";
import type { OpenSecret } from "../directory/secrets.ts";
import { BoundedMap } from "../lib/collections.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { type Digest, digestParts } from "../oci/digest.ts";
import type { Misconfigured } from "../refusal.ts";
import { parseSecret, type SigningStore, signerOf } from "../signers/index.ts";
import type { StoreSecret } from "../signers/signer.ts";
import type { DayKeys } from "../signers/sigv4.ts";
import { isCurrentWindow, signingWindow, type UrlWindow } from "../signers/window.ts";
import { type Attribution, attributionParameters } from "./attribution.ts";

export type SigningMemory = {
  /** Signed URLs, by store, method, root, blob and query parameters. */
  readonly urls: BoundedMap<string, SignedUrl>;
  /**
   * An id for each parsed store. The keys of `urls` begin with this id, and not with the store, because a store may have thousands of CIDRs. If a
   * store's record changes, the store is parsed again and gets a new id, so the old record's URLs are not found any more.
   */
  readonly storeIds: WeakMap<SigningStore, string>;
  /** Parsed secrets with their imported keys. The map's key is the scheme and the secret's clear text. */
  readonly secrets: BoundedMap<string, StoreSecret>;
  readonly dayKeys: DayKeys;
};

/** A remembered URL. `bytes` is roughly how much memory its entry in `urls` takes. */
type SignedUrl = { readonly url: string; readonly window: UrlWindow; readonly bytes: number };

type SigningPorts = { readonly openSecret: OpenSecret; readonly signing: SigningMemory; readonly now: Date };

type BlobToSign = {
  readonly method: "GET" | "HEAD";
  readonly digest: Digest;
  readonly pod: Pod;
  readonly store: SigningStore;
  readonly attribution?: Attribution;
  /** Where the registry keeps its objects, by default as the store's record says. Only `/-/probe` sets this member. */
  readonly root?: StoreRoot;
};

/** `legacy`: each object's key begins with a slash, as in an Azure store that has `legacyRoot`. */
type StoreRoot = "plain" | "legacy";

export const rootOf = (store: SigningStore): StoreRoot =>
  store.scheme === "azure" && store.legacyRoot === true ? "legacy" : "plain";

/** How much memory the signed URLs of all stores may take. With a URL of 600 characters, an entry takes 1,400 bytes, so about 6,000 URLs fit. */
const maxBytesOfUrls = 8 * 1024 * 1024;
const bytesPerUrl = 700;

export const createSigningMemory = (): SigningMemory => ({
  urls: new BoundedMap(10_000, { maxBytes: maxBytesOfUrls, bytesOf: ({ bytes }) => bytes }),
  storeIds: new WeakMap(),
  secrets: new BoundedMap(500),
  dayKeys: new WeakMap(),
});

/**
 * Whether the edge knows the key of a blob's object. distribution and GitLab keep every blob under its sha256. If a client pushed the blob under
 * another digest, only the registry knows its sha256.
 */
export const hasObjectKey = (digest: Digest): boolean => digestParts(digest).algorithm === "sha256";

/** Signs a URL for the blob. The caller must have a proof that the repository has the blob, because the object's key names no repository. */
export async function signBlobUrl(
  { method, digest, pod, store, attribution = {}, root = rootOf(store) }: BlobToSign,
  ports: SigningPorts,
): Promise<Result<string, Misconfigured>> {
  if (!hasObjectKey(digest))
    return misconfigured(`blob "${digest}" of Pod "${pod.id}" has no key in a store; want sha256`);
  const parameters = store.attribution === true ? attributionParameters(attribution) : [];
  const { urls, dayKeys } = ports.signing;
  const name = `${storeId(store, ports.signing)} ${method} ${root} ${digest} ${JSON.stringify(parameters)}`;
  const known = urls.get(name);
  if (known !== undefined && isCurrentWindow(known.window, ports.now)) return ok(known.url);
  const field = `blobs.stores.${pod.blobs.stores.indexOf(store)}.credentials`;
  const secret = await readSecret({ pod, store, field }, ports);
  if (!secret.ok) return secret;
  const window = signingWindow(ports.now, secret.value.expiresAt ?? null);
  if (window === null) {
    return misconfigured(
      `sealed value of Pod "${pod.id}", field "${field}", expires too soon for a URL; want 20 minutes left`,
    );
  }
  const key = objectKey(digest, store.prefix, root);
  const request = { method, key, config: store, secret: secret.value, window, attribution: parameters, dayKeys };
  // Not every key that can be imported can sign. A throw would end the check of all Pods' stores.
  const url = await signerOf(store)
    .sign(request)
    .catch(() => null);
  if (url === null) return misconfigured(`sealed value of Pod "${pod.id}", field "${field}", cannot sign a URL`);
  // Schemes with ECDSA sign with random values, so two requests at once make two different URLs. We return the one that was remembered first, so that
  // all requests get the same URL.
  const first = urls.get(name);
  if (first !== undefined && isCurrentWindow(first.window, ports.now)) return ok(first.url);
  urls.set(name, { url, window, bytes: bytesPerUrl + name.length + url.length });
  return ok(url);
}

/** Where distribution and GitLab keep a blob's bytes, below the store's root and `prefix`. */
export function objectKey(digest: Digest, prefix: string, root: StoreRoot): string {
  const { algorithm, encoded } = digestParts(digest);
  const below = prefix === "" ? "" : `${prefix}/`;
  return `${root === "legacy" ? "/" : ""}${below}docker/registry/v2/blobs/${algorithm}/${encoded.slice(0, 2)}/${encoded}/data`;
}

function storeId(store: SigningStore, { storeIds }: SigningMemory): string {
  const id = storeIds.get(store) ?? crypto.randomUUID();
  storeIds.set(store, id);
  return id;
}

async function readSecret(
  { pod, store, field }: { readonly pod: Pod; readonly store: SigningStore; readonly field: string },
  { openSecret, signing }: SigningPorts,
): Promise<Result<StoreSecret, Misconfigured>> {
  if (!("credentials" in store)) return ok({});
  const sealedFor = { pod: pod.id, field, scheme: store.scheme, target: signerOf(store).target(store) };
  const opened = await openSecret(store.credentials, sealedFor);
  if (!opened.ok) return opened;
  const cacheKey = `${store.scheme} ${opened.value}`;
  const known = signing.secrets.get(cacheKey);
  if (known !== undefined) return ok(known);
  const parsed = await parseSecret(store.scheme, opened.value);
  if (!parsed.ok) return misconfigured(`sealed value of Pod "${pod.id}", field "${field}", ${parsed.error}`);
  signing.secrets.set(cacheKey, parsed.value);
  return parsed;
}

const misconfigured = (text: string): Result<never, Misconfigured> => err({ reason: "misconfigured", text });
