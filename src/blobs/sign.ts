import type { Pod } from "../directory/directory.ts";
import type { Misconfigured, OpenSecret } from "../directory/secrets.ts";
import { BoundedMap } from "../lib/collections.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { Digest } from "../oci/digest.ts";
import { parseSecret, type SigningStore, signerOf } from "../signers/index.ts";
import type { StoreSecret } from "../signers/signer.ts";
import type { DayKeys } from "../signers/sigv4.ts";
import { signingWindow } from "../signers/window.ts";
import { type Attribution, attributionParameters } from "./attribution.ts";
import { objectKey } from "./object-key.ts";

/** A signed URL for the blob. Only to be called with a proof: the object's key says nothing of the repository. */
export async function signBlobUrl(
  method: "GET" | "HEAD",
  digest: Digest,
  pod: Pod,
  store: SigningStore,
  openSecret: OpenSecret,
  now: Date,
  attribution: Attribution = {},
): Promise<Result<string, Misconfigured>> {
  const field = `blobs.stores.${pod.blobs.stores.indexOf(store)}.credentials`;
  const secret = await readSecret(pod, field, store, openSecret);
  if (!secret.ok) return secret;
  const window = signingWindow(now, secret.value.expiresAt ?? null);
  if (window === null) {
    return misconfigured(
      `sealed value of Pod "${pod.id}", field "${field}", expires too soon for a URL; want 10 minutes left`,
    );
  }
  const key = objectKey(digest, store.prefix);
  const parameters = store.attribution === true ? attributionParameters(attribution) : [];
  const request = { method, key, config: store, secret: secret.value, window, attribution: parameters, dayKeys };
  const name = JSON.stringify([method, key, parameters, window]);
  return ok(await remembered(store, name, () => signerOf(store).sign(request)));
}

/** Per store: a popular image's layers within a window or two, under 1 MB. */
const maxUrls = 500;
/** By the store's own value, so a changed record begins anew. */
const urls = new WeakMap<SigningStore, BoundedMap<string, string>>();

/** One URL for all who ask within a window, also of a scheme whose signatures are random (ECDSA): the first one made is everyone's. */
async function remembered(store: SigningStore, name: string, sign: () => Promise<string>): Promise<string> {
  const known = urls.get(store) ?? new BoundedMap<string, string>(maxUrls);
  urls.set(store, known);
  const url = known.get(name) ?? (await sign());
  const first = known.get(name) ?? url;
  known.set(name, first);
  return first;
}

/** Parsed and its keys imported once per isolate. */
const secrets = new BoundedMap<string, StoreSecret>(200);
/** By the secret's own value, so it holds no more than `secrets`. */
const dayKeys: DayKeys = new WeakMap();

async function readSecret(
  pod: Pod,
  field: string,
  store: SigningStore,
  openSecret: OpenSecret,
): Promise<Result<StoreSecret, Misconfigured>> {
  const signer = signerOf(store);
  if (signer.secret === null || !("credentials" in store)) return ok({});
  const sealedFor = { pod: pod.id, field, scheme: store.scheme, target: signer.target(store) };
  const opened = await openSecret(store.credentials, sealedFor);
  if (!opened.ok) return opened;
  const cacheKey = `${store.scheme} ${opened.value}`;
  const known = secrets.get(cacheKey);
  if (known !== undefined) return ok(known);
  const parsed = await parseSecret(store.scheme, opened.value);
  if (!parsed.ok) return misconfigured(`sealed value of Pod "${pod.id}", field "${field}", ${parsed.error}`);
  secrets.set(cacheKey, parsed.value);
  return parsed;
}

const misconfigured = (text: string): Result<never, Misconfigured> => err({ reason: "misconfigured", text });
