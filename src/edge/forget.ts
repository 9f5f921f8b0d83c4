import type { PodGrant } from "../auth/grant.ts";
import type { Result } from "../lib/result.ts";
import type { FetchRequest } from "../net/fetch.ts";
import type { RegistryEndpoint } from "../oci/endpoint.ts";
import { readParameters } from "../oci/query.ts";
import { isDigest, isTag, parseTag, type Tag } from "../oci/reference.ts";
import type { AdmittedPod } from "../pods/gate.ts";
import type { Refusal } from "../refusal.ts";
import type { Context } from "./authorize.ts";
import { ownedBlob } from "./blob-url.ts";
import type { ManifestEndpoint } from "./record-manifest.ts";
import { isPlain } from "./redirect-blob.ts";

type Writing = {
  readonly endpoint: RegistryEndpoint;
  readonly pod: AdmittedPod;
  readonly grant: PodGrant;
};

/**
 * Sends a DELETE, or a push of a manifest that the edge does not read, and then forgets what the request may have changed. If there is nothing to
 * forget, returns null and does not send the request.
 */
export function writeAndForget(
  sent: FetchRequest,
  context: Context,
  writing: Writing,
): Promise<Result<Response, Refusal>> | null {
  const { endpoint, pod, grant } = writing;
  const { services } = context;
  const forget = forgottenBy(context, writing);
  if (forget === null) return null;
  const answered = services.callRegistry(pod, sent).then((answer) => {
    const isDone = answer.ok && answer.value.ok;
    const isRefused = answer.ok && [401, 403].includes(answer.value.status);
    // A DELETE that gets no answer may have worked, so the edge forgets after it too. If the edge cannot verify the token, it forgets only after a
    // success. Otherwise any client could make the edge forget something.
    const isGone = grant.kind === "undecided" || endpoint.method !== "DELETE" ? isDone : !isRefused;
    if (isGone) forget();
    return answer;
  });
  // The call goes on even if the client goes away, because the edge must learn of the DELETE and stop serving what was deleted.
  services.waitUntil(answered);
  return answered;
}

function forgottenBy({ services }: Context, { endpoint, pod, grant }: Writing): (() => void) | null {
  const { proofs, manifests } = services;
  const isDelete = endpoint.method === "DELETE";
  if (endpoint.kind === "blob" && isDelete) return () => proofs.forget(ownedBlob(pod, endpoint));
  if (endpoint.kind !== "manifest") return null;
  const { name: repository, reference } = endpoint;
  if (isDelete && isDigest(reference)) {
    return () => manifests.kept.forget({ pod, repository, digest: reference });
  }
  const isUnreadPush = endpoint.method === "PUT" && (grant.kind === "undecided" || !isPlain(endpoint));
  const tags = isDelete ? [reference].filter(isTag) : isUnreadPush ? pushedTags(endpoint) : [];
  if (tags.length === 0) return null;
  return () => {
    for (const tag of tags.slice(0, mostForgotten)) manifests.tags.forget({ pod, repository, tag });
  };
}

/**
 * After one push or deletion, the edge forgets at most this many tags. Each costs one call of the location's cache, and a request may make 50 calls
 * in all (Workers' free plan).
 */
const mostForgotten = 30;

/**
 * The tags that a push of a manifest moves. The OCI distribution spec lets a push by digest name several tags in its query, as in
 * `PUT /v2/<name>/manifests/<digest>?tag=1&tag=latest`.
 */
function pushedTags({ reference, query }: ManifestEndpoint): readonly Tag[] {
  const named = readParameters(query).flatMap(({ name, value }) => (name === "tag" ? [parseTag(value)] : []));
  const tags = named.flatMap((tag) => (tag.ok ? [tag.value] : []));
  return [...new Set([...[reference].filter(isTag), ...tags])];
}
