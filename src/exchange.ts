import type { Grant } from "./auth/authenticate.ts";
import { blobsOf, type Copy, copyManifest } from "./blobs/lesson.ts";
import { proves } from "./blobs/proof.ts";
import type { OwnedBlob } from "./blobs/proofs.ts";
import type { Authorized, Context } from "./context.ts";
import type { Misconfigured } from "./directory/secrets.ts";
import { ok, type Result } from "./lib/result.ts";
import { type Digest, parseDigest } from "./oci/digest.ts";
import type { RegistryEndpoint, RepositoryEndpoint } from "./oci/endpoint.ts";
import { isDigest } from "./oci/reference.ts";
import { podRequest } from "./pods/pod-request.ts";
import type { FetchRequest, PodFailure } from "./resilience/fetch-request.ts";
import { announcedBytes } from "./telemetry/record.ts";

type Answered = Result<Response, PodFailure | Misconfigured>;
type BlobEndpoint = Extract<RepositoryEndpoint, { kind: "blob" }>;
type ManifestEndpoint = Extract<RepositoryEndpoint, { kind: "manifest" }>;

/** One request to the Pod, and what its answer tells of the repository's blobs. By a token that the edge cannot verify it learns nothing. */
export function exchange<E extends RegistryEndpoint>(
  context: Context<E>,
  { pod, grant }: Authorized,
  endpoint: RegistryEndpoint,
): Promise<Answered> {
  const sent = podRequest(pod, endpoint, jwtOf(grant), context.request);
  if (endpoint.kind === "blob" && endpoint.method === "DELETE")
    return deleteBlob(context, ownedBlob(pod, endpoint), sent);
  if (grant.kind !== "undecided") {
    if (endpoint.kind === "blob" && endpoint.method === "HEAD")
      return headBlob(context, ownedBlob(pod, endpoint), sent);
    if (endpoint.kind === "manifest" && pod.blobs.proof === "manifest") {
      return passManifest(context, { pod, grant }, endpoint, sent);
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

const jwtOf = (grant: Grant): string | null => (grant.kind === "open" ? null : grant.jwt);

const ownedBlob = (pod: OwnedBlob["pod"], { name, digest }: BlobEndpoint): OwnedBlob => ({
  pod,
  repository: name,
  digest,
});

/** To its end even if the client goes away: what is deleted must not be served by what was proved before. */
function deleteBlob({ services }: Context<RegistryEndpoint>, blob: OwnedBlob, sent: FetchRequest): Promise<Answered> {
  const answered = services.fetchPod(blob.pod, sent).then((answer) => {
    // Without an answer it may have been done; a client without the right changes nothing.
    const refused = answer.ok && (answer.value.status === 401 || answer.value.status === 403);
    if (!refused) services.proofs.bury(blob);
    return answer;
  });
  services.waitUntil(answered);
  return answered;
}

/** A client's own HEAD proves as much as one that the edge makes for it. */
async function headBlob(
  { services }: Context<RegistryEndpoint>,
  blob: OwnedBlob,
  sent: FetchRequest,
): Promise<Answered> {
  const answer = await services.fetchPod(blob.pod, sent);
  if (!answer.ok) return answer;
  if (proves(answer.value, blob.digest, blob.pod)) services.proofs.proved(blob, services.now);
  if (answer.value.status === 404) services.waitUntil(services.proofs.missed(blob));
  return answer;
}

/** A manifest on its way to the client, or to the Pod, passes as it is; what it teaches is found out beside. */
async function passManifest(
  context: Context<RegistryEndpoint>,
  authorized: Authorized,
  endpoint: ManifestEndpoint,
  sent: FetchRequest,
): Promise<Answered> {
  const { services, request } = context;
  const pushed = endpoint.method === "PUT" && request.body !== null ? copyManifest(request.body, sent.bodyBytes) : null;
  const answer = await services.fetchPod(authorized.pod, pushed === null ? sent : { ...sent, body: pushed.body });
  if (!answer.ok) return answer;
  const learn = (copy: Copy, mediaType: string | null) =>
    services.waitUntil(teach(context, authorized, endpoint, { copy, mediaType, response: answer.value }));
  if (pushed !== null && answer.value.status === 201) learn(pushed.copy, request.headers.get("Content-Type"));
  if (endpoint.method !== "GET" || answer.value.status !== 200 || answer.value.body === null) return answer;
  // The copy would be of decoded bytes, which no digest is of.
  if (answer.value.headers.has("Content-Encoding")) return answer;
  const pulled = copyManifest(answer.value.body, announcedBytes(answer.value.body, answer.value.headers));
  if (pulled === null) return answer;
  learn(pulled.copy, answer.value.headers.get("Content-Type"));
  return ok(new Response(pulled.body, answer.value));
}

async function teach(
  { services }: Context<RegistryEndpoint>,
  { pod }: Authorized,
  { name, reference }: ManifestEndpoint,
  { copy, mediaType, response }: { copy: Copy; mediaType: string | null; response: Response },
): Promise<void> {
  const digests = digestsOf(response, isDigest(reference) ? reference : null);
  const blobs = await blobsOf(copy, { mediaType, digests });
  await services.proofs.teach(
    blobs.map((digest) => ({ pod, repository: name, digest })),
    services.now,
  );
}

/** What the manifest must hash to: the digest that the Pod names, and the one that was asked for. */
function digestsOf(response: Response, reference: Digest | null): readonly Digest[] {
  const text = response.headers.get("Docker-Content-Digest");
  const named = text === null ? null : parseDigest(text);
  if (named !== null && !named.ok) return [];
  return [named?.value ?? null, reference].flatMap((digest) => digest ?? []);
}
