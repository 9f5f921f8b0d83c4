import * as v from "valibot";
import type { Pod } from "../directory/directory.ts";
import type { Store } from "../directory/records.ts";
import type { Misconfigured, OpenSecret } from "../directory/secrets.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { Digest } from "../oci/digest.ts";
import { signers } from "../signers/index.ts";
import { objectKey } from "./object-key.ts";

export type SigningStore = Exclude<Store, { scheme: "pod" }>;

/** The store that serves this client: the first, for stores have no conditions yet. Null: this Pod streams, or redirects by itself. */
export function signingStore(pod: Pod): SigningStore | null {
  const [store] = pod.blobs.stores;
  return store === undefined || store.scheme === "pod" ? null : store;
}

/** A signed URL for the blob. Only to be called with a proof: the object's key says nothing of the repository. */
export async function signBlobUrl(
  method: "GET" | "HEAD",
  digest: Digest,
  pod: Pod,
  store: SigningStore,
  openSecret: OpenSecret,
  now: Date,
): Promise<Result<string, Misconfigured>> {
  const signer = signers[store.scheme];
  const field = `blobs.stores.${pod.blobs.stores.indexOf(store)}.credentials`;
  const sealedFor = { pod: pod.id, field, scheme: store.scheme, target: signer.target(store) };
  const secret = await openSecret(store.credentials, sealedFor);
  if (!secret.ok) return secret;
  const parsed = v.safeParse(signer.secret, parseJson(secret.value));
  if (!parsed.success)
    return err({
      reason: "misconfigured",
      text: `sealed value of Pod "${pod.id}", field "${field}", has no ${v.getDotPath(parsed.issues[0]) ?? "JSON object"}`,
    });
  return ok(await signer.sign({ method, key: objectKey(digest), config: store, secret: parsed.output, now }));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
