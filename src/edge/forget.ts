import type { PodGrant } from "../auth/grant.ts";
import type { Pod } from "../directory/directory.ts";
import type { Moving } from "../directory/moves.ts";
import type { Result } from "../lib/result.ts";
import type { FetchRequest } from "../net/fetch.ts";
import type { RegistryEndpoint } from "../oci/endpoint.ts";
import { isDigest, isTag } from "../oci/reference.ts";
import type { AdmittedPod } from "../pods/gate.ts";
import type { Refusal } from "../refusal.ts";
import type { Context } from "./authorize.ts";
import { ownedBlob } from "./blob-url.ts";
import { isPlain } from "./redirect-blob.ts";
import { podsOfChange } from "./shared-registry.ts";

type Writing = {
  readonly endpoint: RegistryEndpoint;
  readonly pod: AdmittedPod;
  readonly grant: PodGrant;
  readonly moving: Moving | null;
};

/**
 * Sends a request that may change something that the edge remembers. It is a DELETE of a blob, a manifest or a tag, or a push of a tag whose manifest
 * the edge does not read. The edge then forgets what it remembered. Null for any other request.
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

function forgottenBy({ services }: Context, writing: Writing): (() => void) | null {
  const { endpoint, grant } = writing;
  const { proofs, manifests } = services;
  const isDelete = endpoint.method === "DELETE";
  const forEachPod = (forget: (pod: Pod) => void) => () => podsOfChange(writing, services).forEach(forget);
  if (endpoint.kind === "blob" && isDelete) return forEachPod((pod) => proofs.forget(ownedBlob(pod, endpoint)));
  if (endpoint.kind !== "manifest") return null;
  const { name: repository, reference } = endpoint;
  if (isDigest(reference)) {
    return isDelete ? forEachPod((pod) => manifests.kept.forget({ pod, repository, digest: reference })) : null;
  }
  const isUnreadPush = endpoint.method === "PUT" && (grant.kind === "undecided" || !isPlain(endpoint));
  if (!isTag(reference) || !(isDelete || isUnreadPush)) return null;
  return forEachPod((pod) => manifests.tags.forget({ pod, repository, tag: reference }));
}
