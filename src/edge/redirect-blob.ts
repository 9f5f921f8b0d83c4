import { type Grant, jwtOf } from "../auth/grant.ts";
import { proves } from "../blobs/head-proof.ts";
import type { Owned } from "../blobs/proofs.ts";
import type { Misconfigured } from "../directory/secrets.ts";
import { ok, type Result } from "../lib/result.ts";
import type { FetchRequest, PodFailure } from "../net/fetch-request.ts";
import type { RegistryEndpoint, RepositoryEndpoint } from "../oci/endpoint.ts";
import { podRequest } from "../pods/request.ts";
import type { Authorized, Context } from "./context.ts";
import { passManifest } from "./record-manifest.ts";

type Answered = Result<Response, PodFailure | Misconfigured>;
type BlobEndpoint = Extract<RepositoryEndpoint, { kind: "blob" }>;

/** One request to the Pod, and what its answer tells of the repository's blobs. By a token that the edge cannot verify it learns nothing. */
export function exchange<E extends RegistryEndpoint>(
  context: Context<E>,
  { pod, grant }: Authorized,
  endpoint: RegistryEndpoint,
): Promise<Answered> {
  const sent = podRequest(pod, endpoint, jwtOf(grant), context.request);
  if (endpoint.kind === "blob" && endpoint.method === "DELETE")
    return deleteBlob(context, ownedBlob(pod, endpoint), sent, grant);
  if (grant.kind !== "undecided") {
    if (endpoint.kind === "blob" && endpoint.method === "HEAD")
      return headBlob(context, ownedBlob(pod, endpoint), sent);
    if (endpoint.kind === "manifest" && pod.blobs.proof === "manifest") {
      return passManifest(context, pod, endpoint, sent);
    }
  }
  return context.services.fetchPod(pod, sent);
}

/** Whether the blob is in the repository: by what is known, else by one HEAD at the Pod. */
export async function prove(
  { request, services }: Context<RegistryEndpoint>,
  { pod, grant }: Authorized,
  endpoint: BlobEndpoint,
): Promise<Result<boolean, PodFailure | Misconfigured>> {
  const blob = ownedBlob(pod, endpoint);
  const known = await services.proofs.find(blob);
  if (known !== null) {
    services.trace.proof = known;
    return ok(true);
  }
  const head = podRequest(pod, { ...endpoint, method: "HEAD" }, jwtOf(grant), request);
  // A range is for the storage: the proof is of the whole blob.
  for (const name of ["Range", "If-None-Match", "If-Modified-Since", "If-Range"]) head.headers.delete(name);
  const answer = await services.fetchPod(pod, head);
  if (!answer.ok) return answer;
  const proved = proves(answer.value, blob.digest, pod);
  if (proved) {
    services.trace.proof = "head";
    services.proofs.proved(blob, services.now);
  }
  return ok(proved);
}

/** Whether the Pod takes the token for one of its own: any that is good opens `/v2/` (end-1). */
export async function accepts(
  { services, request }: Context<RegistryEndpoint>,
  { pod, grant }: Authorized,
): Promise<boolean> {
  const plain = new Request(request.url, { headers: request.headers });
  const asked = podRequest(pod, { kind: "base", method: "GET", query: "" }, jwtOf(grant), plain);
  const answer = await services.fetchPod(pod, asked);
  if (answer.ok) await answer.value.body?.cancel();
  return answer.ok && answer.value.ok;
}

const ownedBlob = (pod: Owned["pod"], { name, digest }: BlobEndpoint): Owned => ({
  pod,
  repository: name,
  digest,
});

/** To its end even if the client goes away: what is deleted must not be served by what was proved before. */
function deleteBlob(
  { services }: Context<RegistryEndpoint>,
  blob: Owned,
  sent: FetchRequest,
  grant: Grant,
): Promise<Answered> {
  const answered = services.fetchPod(blob.pod, sent).then((answer) => {
    const done = answer.ok && answer.value.ok;
    const refused = answer.ok && [401, 403].includes(answer.value.status);
    // Without an answer it may have been done; but a client whose right nobody has confirmed makes nothing forgotten by asking.
    if (grant.kind === "undecided" ? done : !refused) services.proofs.bury(blob);
    return answer;
  });
  services.waitUntil(answered);
  return answered;
}

/** A client's own HEAD proves as much as one that the edge makes for it. */
async function headBlob({ services }: Context<RegistryEndpoint>, blob: Owned, sent: FetchRequest): Promise<Answered> {
  const answer = await services.fetchPod(blob.pod, sent);
  if (!answer.ok) return answer;
  if (proves(answer.value, blob.digest, blob.pod)) services.proofs.proved(blob, services.now);
  if (answer.value.status === 404) services.waitUntil(services.proofs.missed(blob));
  return answer;
}
