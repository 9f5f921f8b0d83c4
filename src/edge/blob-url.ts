import { type Grant, jwtOf } from "../auth/grant.ts";
import { attributionOf } from "../blobs/attribution.ts";
import { chooseStores } from "../blobs/choose-store.ts";
import { provesBlob } from "../blobs/head-proof.ts";
import type { Owned } from "../blobs/proofs.ts";
import { hasObjectKey, signBlobUrl } from "../blobs/sign.ts";
import type { Client } from "../directory/clients.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { checkHeaderCount, conditionHeaders } from "../net/headers.ts";
import type { Digest } from "../oci/digest.ts";
import type { RegistryEndpoint } from "../oci/endpoint.ts";
import { podRequest } from "../pods/request.ts";
import type { Misconfigured, Refusal } from "../refusal.ts";
import type { Services } from "../services.ts";
import type { Store } from "../signers/index.ts";
import type { Authorized, Context } from "./authorize.ts";

export type BlobEndpoint = Extract<RegistryEndpoint, { readonly kind: "blob" }>;

export const ownedBlob = (pod: Owned["pod"], { name, digest }: BlobEndpoint): Owned => ({
  pod,
  repository: name,
  digest,
});

/**
 * Returns the stores that this client may be sent to, in the order in which they are tried. There are none if only the Pod can check the token, or if
 * only the Pod knows where the blob is kept.
 */
export async function storesOf(
  digest: Digest,
  client: Client,
  { services, pod, grant }: Authorized<Grant> & { readonly services: Services },
): Promise<readonly Store[]> {
  if (grant.kind === "undecided" || !hasObjectKey(digest)) return [];
  const { stores, passedOver } = await chooseStores(pod, client, services);
  if (passedOver !== null) notePassedOver(services, passedOver);
  return stores;
}

function notePassedOver({ trace }: Services, why: string): void {
  // If the Pod fails, the stores are chosen a second time, so the same reason may come twice.
  if (trace.passedOver?.includes(why)) return;
  trace.passedOver = trace.passedOver === undefined ? why : `${trace.passedOver}; ${why}`;
}

/** Whether the edge signs the blob's URL. If not, the Pod gets the request, and redirects the client or sends the blob. */
export const isSignedFor = ([first]: readonly Store[]): boolean => first !== undefined && first.scheme !== "pod";

/** Whether it is proven that the blob is in the repository. If the edge remembers no proof, it sends one HEAD to the Pod. */
export async function prove(
  endpoint: BlobEndpoint,
  { request, services }: Pick<Context, "request" | "services">,
  { pod, grant }: Authorized,
): Promise<Result<boolean, Refusal>> {
  const blob = ownedBlob(pod, endpoint);
  const foundIn = await services.proofs.find(blob);
  if (foundIn !== null) {
    services.trace.proof = foundIn;
    return ok(true);
  }
  const counted = checkHeaderCount(request.headers);
  if (!counted.ok) return counted;
  const head = podRequest(pod, { ...endpoint, method: "HEAD", query: "" }, { jwt: jwtOf(grant), request });
  // A condition or a range is for the bytes, which the store sends. The HEAD only asks whether the repository has the blob.
  for (const name of conditionHeaders) head.headers.delete(name);
  const answer = await services.callRegistry(pod, head);
  if (!answer.ok) return answer;
  const isProven = provesBlob(answer.value, blob.digest, pod);
  if (answer.value.status === 404) await services.proofs.forgetMissing(blob, services.now);
  if (isProven) {
    services.trace.proof = "head";
    services.proofs.record(blob, services.now);
  }
  return ok(isProven);
}

/**
 * Tries the stores in their order, and returns the first URL that can be signed. Call it only after a proof has shown that the blob is in the
 * repository. Null if the next store to try has the scheme `pod`, because only the Pod itself can redirect to that store.
 */
export async function signUrl(
  method: "GET" | "HEAD",
  { name, digest }: BlobEndpoint,
  { services, authorized, stores }: Signing,
): Promise<Result<string, Misconfigured> | null> {
  const { pod, grant } = authorized;
  const jwt = grant.kind === "granted" ? grant.jwt : null;
  let failure: Misconfigured | null = null;
  for (const store of stores) {
    if (failure !== null) notePassedOver(services, failure.text);
    if (store.scheme === "pod") return null;
    const attribution = store.attribution === true ? attributionOf(name, jwt) : {};
    const url = await signBlobUrl({ method, digest, pod, store, attribution }, services);
    if (url.ok) return url;
    failure = url.error;
  }
  return failure === null ? null : err(failure);
}

type Signing = {
  readonly services: Services;
  readonly authorized: Authorized<Grant>;
  readonly stores: readonly Store[];
};
