import type { Grant } from "../auth/grant.ts";
import { provesBlob, redirectTarget } from "../blobs/head-proof.ts";
import { err, ok } from "../lib/result.ts";
import type { Digest } from "../oci/digest.ts";
import type { RegistryEndpoint } from "../oci/endpoint.ts";
import { apiVersionHeader } from "../oci/errors.ts";
import type { Store } from "../signers/index.ts";
import type { Asked, Authorized } from "./authorize.ts";
import { type BlobEndpoint, isSignedFor, ownedBlob, prove, signUrl, storesOf } from "./blob-url.ts";
import type { Reply } from "./refuse.ts";
import { streamBlob } from "./stream-blob.ts";

/** Redirects a blob GET to a signed URL of a store, if a proof shows that the blob is in this repository. Null if the Pod itself must answer. */
export async function redirectBlob(endpoint: RegistryEndpoint, asked: Asked): Promise<Reply | null> {
  if (endpoint.kind !== "blob" || endpoint.method !== "GET" || isStreamed(asked.authorized)) return null;
  const stores = await storesFor(endpoint.digest, asked);
  if (!isSignedFor(stores)) return null;
  const proven = await prove(endpoint, asked.context, asked.authorized);
  if (!proven.ok) return proven;
  return proven.value ? redirectToStore("GET", endpoint, { ...asked, stores }) : null;
}

/**
 * Redirects a blob GET or HEAD while the Pod fails. A proof is enough until `staleSeconds` after its expiry. Null if there is no such proof, if the
 * group's blobs are streamed, or if only the Pod can send this client to a store.
 */
export async function redirectHeld(endpoint: BlobEndpoint, asked: Asked<Grant>): Promise<Reply | null> {
  const { method } = endpoint;
  const { context, authorized } = asked;
  const stores = await storesFor(endpoint.digest, asked);
  if (method === "DELETE" || !isSignedFor(stores) || isStreamed(authorized)) return null;
  const { proofs, trace } = context.services;
  const foundIn = await proofs.findStale(ownedBlob(authorized.pod, endpoint));
  if (foundIn === null) return null;
  trace.proof = foundIn;
  return redirectToStore(method, endpoint, { ...asked, stores });
}

/**
 * Passes on a Pod's redirect of a blob, as an absolute URL. With `delivery: stream`, streams the blob from this URL instead. The URL must lead to one
 * of the Pod's blob hosts.
 */
export async function followRedirect(endpoint: BlobEndpoint, redirect: Response, asked: Asked): Promise<Reply> {
  const { context, authorized } = asked;
  const { pod } = authorized;
  // A Pod may sign its URL only for GET, and the store then refuses a HEAD. So for a HEAD, the edge signs a URL itself if it can.
  const isSigned = endpoint.method === "HEAD" && !isStreamed(authorized);
  const stores = isSigned ? await storesFor(endpoint.digest, asked) : [];
  const mayBeSigned = isSignedFor(stores) && (await isProven(endpoint, redirect, asked));
  const signed = mayBeSigned ? await redirectToStore("HEAD", endpoint, { ...asked, stores }) : null;
  if (signed !== null) return signed;
  const location = redirect.headers.get("Location");
  const target = redirectTarget(location, pod);
  if (target === null) {
    const origin =
      location !== null && URL.canParse(location, pod.registry) ? new URL(location, pod.registry).origin : "";
    return err({
      reason: "foreign-location",
      text: `Pod "${pod.id}" redirects a blob to "${origin}"; want https and a host of its blobs.hosts or its stores`,
    });
  }
  return isStreamed(authorized) ? streamBlob(endpoint, target, context) : redirectTo(target.href, endpoint.digest);
}

const isStreamed = ({ assignment }: Authorized<Grant>): boolean => assignment?.delivery === "stream";

/**
 * Whether the blob is proven to be in the repository. If the client's HEAD has a query, the Pod may redirect to something else, so the redirect is no
 * proof.
 */
async function isProven(endpoint: BlobEndpoint, redirect: Response, { context, authorized }: Asked): Promise<boolean> {
  if (isPlain(endpoint)) return provesBlob(redirect, endpoint.digest, authorized.pod);
  const proven = await prove(endpoint, context, authorized);
  return proven.ok && proven.value;
}

/**
 * Whether a request has no query. With a query such as `?ns=`, a mirror serves another registry's repository, so the answer proves nothing about this
 * repository.
 */
export const isPlain = ({ query }: RegistryEndpoint): boolean => query === "";

const storesFor = (digest: Digest, { context: { services }, authorized }: Asked<Grant>): Promise<readonly Store[]> =>
  storesOf(digest, services.client, { ...authorized, services });

type Redirecting = Asked<Grant> & { readonly stores: readonly Store[] };

async function redirectToStore(
  method: "GET" | "HEAD",
  endpoint: BlobEndpoint,
  { context: { services }, authorized, stores }: Redirecting,
): Promise<Reply | null> {
  const url = await signUrl(method, endpoint, { services, authorized, stores });
  return url === null || !url.ok ? url : redirectTo(url.value, endpoint.digest);
}

/** Clients must not keep the redirect, because a signed URL expires. */
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
