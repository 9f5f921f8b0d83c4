import { type Grant, jwtOf } from "../auth/grant.ts";
import { attributionOf } from "../blobs/attribution.ts";
import { chooseStores } from "../blobs/choose-store.ts";
import { provesBlob, redirectTarget } from "../blobs/head-proof.ts";
import type { Owned } from "../blobs/proofs.ts";
import { hasObjectKey, signBlobUrl } from "../blobs/sign.ts";
import { readClient } from "../directory/clients.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { checkHeaderCount } from "../net/headers.ts";
import type { Digest } from "../oci/digest.ts";
import type { RegistryEndpoint } from "../oci/endpoint.ts";
import { apiVersionHeader } from "../oci/errors.ts";
import { podRequest } from "../pods/request.ts";
import type { Refusal } from "../refusal.ts";
import type { Services } from "../services.ts";
import type { Store } from "../signers/index.ts";
import type { Authorized, Context } from "./authorize.ts";
import type { Reply } from "./refuse.ts";
import { streamBlob } from "./stream-blob.ts";

export type BlobEndpoint = Extract<RegistryEndpoint, { readonly kind: "blob" }>;

/**
 * Redirects a blob GET to a signed URL of the first store that fits the client, if it is proven that the blob is in this repository. Null if there is no
 * proof, or no store to sign for. Then the Pod itself must answer.
 */
export async function redirectBlob(
  endpoint: RegistryEndpoint,
  context: Context,
  authorized: Authorized,
): Promise<Reply | null> {
  if (endpoint.kind !== "blob" || endpoint.method !== "GET" || isStreamed(authorized)) return null;
  const stores = await storesOf(endpoint.digest, context, authorized);
  if (!isSignedFor(stores)) return null;
  const proven = await prove(endpoint, context, authorized);
  if (!proven.ok) return proven;
  return proven.value ? redirectToStore("GET", endpoint, { context, authorized, stores }) : null;
}

/**
 * Redirects a blob GET or HEAD while the Pod fails. A proof that is still remembered is enough, even if it has expired. Null if there is no such proof, or
 * no store to sign for.
 */
export async function redirectHeld(
  endpoint: BlobEndpoint,
  context: Context,
  authorized: Authorized<Grant>,
): Promise<Reply | null> {
  const { method } = endpoint;
  const stores = await storesOf(endpoint.digest, context, authorized);
  if (method === "DELETE" || !isSignedFor(stores) || isStreamed(authorized)) return null;
  const { proofs, trace } = context.services;
  const foundIn = await proofs.findStale(ownedBlob(authorized.pod, endpoint));
  if (foundIn === null) return null;
  trace.proof = foundIn;
  return redirectToStore(method, endpoint, { context, authorized, stores });
}

/**
 * Passes on a Pod's own redirect of a blob as an absolute URL, and only to the Pod's blob hosts. If possible, a HEAD gets a URL that the edge signs, because
 * a store does not answer a HEAD of a URL that was signed for GET.
 */
export async function followRedirect(
  endpoint: BlobEndpoint,
  redirect: Response,
  { context, authorized }: { readonly context: Context; readonly authorized: Authorized },
): Promise<Reply> {
  const { pod } = authorized;
  const isSigned = endpoint.method === "HEAD" && !isStreamed(authorized);
  const stores = isSigned ? await storesOf(endpoint.digest, context, authorized) : [];
  const mayBeSigned = isSignedFor(stores) && (await isProven(endpoint, redirect, { context, authorized }));
  const signed = mayBeSigned ? await redirectToStore("HEAD", endpoint, { context, authorized, stores }) : null;
  if (signed !== null) return signed;
  const location = redirect.headers.get("Location");
  const target = redirectTarget(location, pod);
  if (target === null) {
    const origin =
      location !== null && URL.canParse(location, pod.registry) ? new URL(location, pod.registry).origin : "";
    return err({
      reason: "foreign-location",
      text: `Pod "${pod.id}" redirects a blob to "${origin}"; want https and one of its record's blobs.hosts`,
    });
  }
  return isStreamed(authorized) ? streamBlob(endpoint, target, context) : redirectTo(target.href, endpoint.digest);
}

/** Whether the group's users do not reach the Pod's storage, so that they are never redirected there. */
const isStreamed = ({ assignment }: Authorized<Grant>): boolean => assignment?.delivery === "stream";

/**
 * Whether a HEAD that the Pod redirects proves that the blob is in the repository. If the HEAD has a query, the Pod may redirect to something else, so the
 * edge looks for another proof, without the query.
 */
async function isProven(
  endpoint: BlobEndpoint,
  redirect: Response,
  { context, authorized }: { readonly context: Context; readonly authorized: Authorized },
): Promise<boolean> {
  if (isPlain(endpoint)) return provesBlob(redirect, endpoint.digest, authorized.pod);
  const proven = await prove(endpoint, context, authorized);
  return proven.ok && proven.value;
}

/**
 * Whether a request has no query. With a query, a Pod may serve something else, as mirrors do with `?ns=`. The answer to such a request says nothing about
 * the repository.
 */
export const isPlain = ({ query }: RegistryEndpoint): boolean => query === "";

export const ownedBlob = (pod: Owned["pod"], { name, digest }: BlobEndpoint): Owned => ({
  pod,
  repository: name,
  digest,
});

/**
 * Returns the stores that this client may be sent to, in their order. There are none for a token that only the Pod can judge, or for a blob whose place only
 * the Pod knows.
 */
async function storesOf(
  digest: Digest,
  { services, request }: Context,
  { pod, grant }: Authorized<Grant>,
): Promise<readonly Store[]> {
  if (grant.kind === "undecided" || !hasObjectKey(digest)) return [];
  const { stores, passedOver } = await chooseStores(pod, readClient(request), services);
  if (passedOver !== null) notePassedOver(services, passedOver);
  return stores;
}

function notePassedOver({ trace }: Services, why: string): void {
  // If the Pod fails, the stores are chosen a second time, so the same reason may come twice.
  if (trace.passedOver?.includes(why)) return;
  trace.passedOver = trace.passedOver === undefined ? why : `${trace.passedOver}; ${why}`;
}

/** Whether the edge signs the URL of the redirect. If it does not, the Pod redirects. */
const isSignedFor = ([first]: readonly Store[]): boolean => first !== undefined && first.scheme !== "pod";

/** Whether it is proven that the blob is in the repository. If the edge remembers no proof, it sends one HEAD to the Pod. */
async function prove(
  endpoint: BlobEndpoint,
  { request, services }: Context,
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
  // These headers are meant for the store. The proof is about the whole blob.
  for (const name of ["Range", "If-None-Match", "If-Modified-Since", "If-Range"]) head.headers.delete(name);
  const answer = await services.callRegistry(pod, head);
  if (!answer.ok) return answer;
  const isProven = provesBlob(answer.value, blob.digest, pod);
  if (answer.value.status === 404) await services.proofs.forgetMissing(blob);
  if (isProven) {
    services.trace.proof = "head";
    services.proofs.record(blob, services.now);
  }
  return ok(isProven);
}

type Redirecting = {
  readonly context: Context;
  readonly authorized: Authorized<Grant>;
  readonly stores: readonly Store[];
};

/**
 * Redirects to the first store for which a URL can be signed. For some stores this fails, because their secret has expired. Null if the next store is one to
 * which the Pod itself redirects.
 */
async function redirectToStore(
  method: "GET" | "HEAD",
  { name, digest }: BlobEndpoint,
  { context, authorized, stores }: Redirecting,
): Promise<Reply | null> {
  const { services } = context;
  const { pod, grant } = authorized;
  const jwt = grant.kind === "granted" ? grant.jwt : null;
  let failed: Reply | null = null;
  for (const store of stores) {
    if (failed !== null && !failed.ok && "text" in failed.error) notePassedOver(services, failed.error.text ?? "");
    if (store.scheme === "pod") return null;
    const attribution = store.attribution === true ? attributionOf(name, jwt) : {};
    const url = await signBlobUrl({ method, digest, pod, store, attribution }, services);
    if (url.ok) return redirectTo(url.value, digest);
    failed = url;
  }
  return failed;
}

/** Redirects to an absolute URL. Clients must not keep the redirect, because its URL expires, and then they have to ask here again. */
const redirectTo = (location: string, digest: Digest): Reply =>
  ok({
    response: new Response(null, {
      status: 307,
      headers: {
        ...apiVersionHeader,
        Location: location,
        "Docker-Content-Digest": digest,
        "Cache-Control": "no-store",
      },
    }),
    outcome: "redirected",
  });
