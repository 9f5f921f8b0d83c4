import type { Grant } from "../auth/grant.ts";
import { provesBlob, redirectTarget } from "../blobs/head-proof.ts";
import { readClient } from "../directory/clients.ts";
import { err, ok } from "../lib/result.ts";
import type { Digest } from "../oci/digest.ts";
import type { RegistryEndpoint } from "../oci/endpoint.ts";
import { apiVersionHeader } from "../oci/errors.ts";
import type { Store } from "../signers/index.ts";
import type { Authorized, Context } from "./authorize.ts";
import { type BlobEndpoint, isSignedFor, ownedBlob, prove, signUrl, storesOf } from "./blob-url.ts";
import type { Reply } from "./refuse.ts";
import { streamBlob } from "./stream-blob.ts";

/**
 * Redirects a blob GET to a signed URL of the first store that fits the client. It must be proven that the blob is in this repository. Null if there
 * is no proof, or if there is no store for which the edge signs. The Pod itself must then answer.
 */
export async function redirectBlob(
  endpoint: RegistryEndpoint,
  context: Context,
  authorized: Authorized,
): Promise<Reply | null> {
  if (endpoint.kind !== "blob" || endpoint.method !== "GET" || isStreamed(authorized)) return null;
  const stores = await storesFor(endpoint.digest, context, authorized);
  if (!isSignedFor(stores)) return null;
  const proven = await prove(endpoint, context, authorized);
  if (!proven.ok) return proven;
  return proven.value ? redirectToStore("GET", endpoint, { context, authorized, stores }) : null;
}

/**
 * Redirects a blob GET or HEAD while the Pod fails. An expired proof is enough, until the Pod's `staleSeconds` are over. Null if there is no such
 * proof, or if there is no store for which the edge signs.
 */
export async function redirectHeld(
  endpoint: BlobEndpoint,
  context: Context,
  authorized: Authorized<Grant>,
): Promise<Reply | null> {
  const { method } = endpoint;
  const stores = await storesFor(endpoint.digest, context, authorized);
  if (method === "DELETE" || !isSignedFor(stores) || isStreamed(authorized)) return null;
  const { proofs, trace } = context.services;
  const foundIn = await proofs.findStale(ownedBlob(authorized.pod, endpoint));
  if (foundIn === null) return null;
  trace.proof = foundIn;
  return redirectToStore(method, endpoint, { context, authorized, stores });
}

/**
 * Passes on a Pod's own redirect of a blob, as an absolute URL. The URL must lead to one of the Pod's blob hosts. The Pod may have signed its URL for
 * GET, and then the store does not answer a HEAD. So for a HEAD, the edge signs a URL itself if it can.
 */
export async function followRedirect(
  endpoint: BlobEndpoint,
  redirect: Response,
  { context, authorized }: { readonly context: Context; readonly authorized: Authorized },
): Promise<Reply> {
  const { pod } = authorized;
  const isSigned = endpoint.method === "HEAD" && !isStreamed(authorized);
  const stores = isSigned ? await storesFor(endpoint.digest, context, authorized) : [];
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

/** Whether blobs are streamed through the edge, because the group's users cannot reach the Pod's storage. */
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

const storesFor = (
  digest: Digest,
  { services, request }: Context,
  authorized: Authorized<Grant>,
): Promise<readonly Store[]> => storesOf(digest, readClient(request), { ...authorized, services });

type Redirecting = {
  readonly context: Context;
  readonly authorized: Authorized<Grant>;
  readonly stores: readonly Store[];
};

/**
 * Redirects to the first store for which a URL can be signed. Null if the edge first comes to a store with the scheme `pod`, because then the Pod
 * itself redirects.
 */
async function redirectToStore(
  method: "GET" | "HEAD",
  endpoint: BlobEndpoint,
  { context: { services }, authorized, stores }: Redirecting,
): Promise<Reply | null> {
  const url = await signUrl(method, endpoint, { services, authorized, stores });
  return url === null || !url.ok ? url : redirectTo(url.value, endpoint.digest);
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
