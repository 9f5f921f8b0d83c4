import type { Pod } from "../directory/directory.ts";
import type { Misconfigured, OpenSecret } from "../directory/secrets.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { PodFailure } from "../net/fetch-request.ts";
import type { Digest } from "../oci/digest.ts";
import { apiVersionHeader } from "../oci/errors.ts";
import type { RepositoryName } from "../oci/repository-name.ts";
import type { Store } from "../signers/index.ts";
import type { Trace } from "../telemetry/record.ts";
import { attributionOf } from "./attribution.ts";
import { proves, redirectTarget } from "./head-proof.ts";
import { signBlobUrl } from "./sign.ts";

type ForeignRedirect = { readonly reason: "foreign-location"; readonly text: string };

export type BlobRequest = {
  readonly repository: RepositoryName;
  readonly digest: Digest;
  readonly pod: Pod;
  /** What this client may be signed for, in this order; none where the Pod alone is to say. */
  readonly stores: readonly Store[];
  /** The client's token if the edge has verified it. */
  readonly jwt: string | null;
  readonly openSecret: OpenSecret;
  readonly now: Date;
  readonly trace: Trace;
};

/**
 * The 307 of a blob GET: signed here, if there is a store to sign for and it is proved that the digest is in this repository.
 * Null: nothing is proved, so the Pod itself is to answer.
 */
export async function redirectBlob(
  blob: BlobRequest,
  prove: () => Promise<Result<boolean, PodFailure | Misconfigured>>,
): Promise<Result<Response | null, PodFailure | Misconfigured>> {
  const [first] = blob.stores;
  if (first === undefined || first.scheme === "pod") return ok(null);
  const proved = await prove();
  if (!proved.ok) return proved;
  return proved.value ? signedRedirect("GET", blob) : ok(null);
}

/**
 * A Pod's own redirect of a blob. A HEAD is signed here where that can be done, for a URL signed for GET answers no HEAD; else the
 * Pod's target stands, absolute and only on its blob hosts.
 */
export async function followRedirect(
  method: "GET" | "HEAD",
  redirect: Response,
  blob: BlobRequest,
): Promise<Result<Response, Misconfigured | ForeignRedirect>> {
  const proved = method === "HEAD" && proves(redirect, blob.digest, blob.pod);
  const signed = proved ? await signedRedirect("HEAD", blob) : ok(null);
  if (!signed.ok) return signed;
  if (signed.value !== null) return ok(signed.value);
  const target = redirectTarget(redirect.headers.get("Location"), blob.pod);
  if (target === null) {
    return err({
      reason: "foreign-location",
      text: `Pod "${blob.pod.id}" redirects a blob to a host that its record does not list, or without TLS`,
    });
  }
  return ok(redirectTo(target.href, blob.digest));
}

/** For the first store that can be signed for: a secret may have ended. Null: the Pod's turn came before. */
async function signedRedirect(
  method: "GET" | "HEAD",
  { repository, digest, pod, stores, jwt, openSecret, now, trace }: BlobRequest,
): Promise<Result<Response | null, Misconfigured>> {
  let failed: Result<null, Misconfigured> = ok(null);
  for (const store of stores) {
    if (!failed.ok) trace.passedOver = failed.error.text;
    if (store.scheme === "pod") return ok(null);
    const attribution = store.attribution === true ? attributionOf(repository, jwt) : {};
    const url = await signBlobUrl(method, digest, pod, store, openSecret, now, attribution);
    if (url.ok) return ok(redirectTo(url.value, digest));
    failed = url;
  }
  return failed;
}

/** One hop, one absolute URL; clients ask here again when it has expired, so none may keep it. */
function redirectTo(location: string, digest: Digest): Response {
  return new Response(null, {
    status: 307,
    headers: { ...apiVersionHeader, Location: location, "Docker-Content-Digest": digest, "Cache-Control": "no-store" },
  });
}
