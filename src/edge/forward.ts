import { type Grant, jwtOf } from "../auth/grant.ts";
import { provesBlob } from "../blobs/head-proof.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { FetchRequest } from "../net/fetch.ts";
import { checkHeaderCount } from "../net/headers.ts";
import { parseChallenge } from "../oci/challenge.ts";
import { hasRepository, type RegistryEndpoint } from "../oci/endpoint.ts";
import type { RepositoryName } from "../oci/repository-name.ts";
import { covers } from "../oci/scope.ts";
import { settleMount } from "../pods/mount.ts";
import { podRequest } from "../pods/request.ts";
import { rewriteResponse } from "../pods/rewrite.ts";
import type { Refusal } from "../refusal.ts";
import type { Authorized, Context } from "./authorize.ts";
import { rewriteChallenge } from "./challenge.ts";
import { passManifest } from "./record-manifest.ts";
import { type BlobEndpoint, followRedirect, isPlain, ownedBlob } from "./redirect-blob.ts";
import type { Reply } from "./refuse.ts";

type PodReply = Result<Response, Refusal>;

/** Streams a request to the Pod, and the Pod's answer back to the client with its places on the edge. */
export async function forward(endpoint: RegistryEndpoint, context: Context, authorized: Authorized): Promise<Reply> {
  const { pod, grant } = authorized;
  const { services, origin, request } = context;
  const counted = checkHeaderCount(request.headers);
  if (!counted.ok) return counted;
  const chosenBy = grant.kind === "undecided" ? "stranger" : "directory";
  const source = {
    directory: services.directory,
    chosenBy,
    mayPull: (name: RepositoryName) => mayPull(grant, name),
  } as const;
  const settled = hasRepository(endpoint) ? await settleMount(endpoint, pod, source) : ok(endpoint);
  if (!settled.ok) return settled;
  const answer = await callRegistry(settled.value, context, authorized);
  if (!answer.ok) return answer;
  if (endpoint.kind === "blob" && endpoint.method !== "DELETE" && isRedirect(answer.value)) {
    return followRedirect(endpoint, answer.value, { context, authorized });
  }
  const challenge = parseChallenge(answer.value.headers.get("WWW-Authenticate"));
  // A name whose token only the Pod could judge must look like a name without a Pod. What a registry does not serve, it refuses to everyone.
  if (grant.kind === "undecided" && isRefusal(answer.value)) {
    const isAccepted = answer.value.status !== 401 && (await acceptsToken(context, authorized));
    if (!isAccepted) return err({ reason: "unauthorized", error: challenge?.error ?? "invalid_token" });
  }
  const { edgeKeys } = services.config;
  const rewritten = await rewriteResponse(answer.value, {
    pod,
    endpoint,
    edgeOrigin: origin,
    edgeKeys,
    now: services.now,
  });
  if (!rewritten.ok) return rewritten;
  const response = rewritten.value;
  if (response.headers.has("WWW-Authenticate")) {
    response.headers.set("WWW-Authenticate", rewriteChallenge(endpoint, challenge, context.challenger));
  }
  const isStreamed = endpoint.kind === "blob" && endpoint.method === "GET" && response.ok;
  return ok({ response, outcome: isStreamed ? "streamed" : "forwarded" });
}

/** A token that only the Pod can judge may grant it. */
const mayPull = (grant: Grant, name: RepositoryName): boolean =>
  grant.kind !== "granted" || covers(grant.access, { type: "repository", name, actions: ["pull"] });

const isRefusal = ({ status }: Response): boolean => status >= 400 && status < 500;

const isRedirect = ({ status }: Response): boolean => [301, 302, 303, 307, 308].includes(status);

/**
 * One request to the Pod, and what its answer proves about the repository's blobs. With a token that the edge cannot verify, or a query, it learns
 * nothing.
 */
function callRegistry(endpoint: RegistryEndpoint, context: Context, { pod, grant }: Authorized): Promise<PodReply> {
  const { request, services } = context;
  const sent = podRequest(pod, endpoint, { jwt: jwtOf(grant), request });
  if (endpoint.kind === "blob" && endpoint.method === "DELETE") {
    return deleteBlob(sent, context, { endpoint, pod, grant });
  }
  if (grant.kind === "undecided" || !isPlain(endpoint)) return services.callRegistry(pod, sent);
  if (endpoint.kind === "blob" && endpoint.method === "HEAD") return headBlob(sent, context, { endpoint, pod });
  if (endpoint.kind === "manifest" && pod.blobs.proof === "manifest") {
    return passManifest(sent, context, { endpoint, pod });
  }
  return services.callRegistry(pod, sent);
}

/** Whether the Pod takes the token as one of its own: any good token opens `/v2/` (end-1). */
async function acceptsToken({ services, request }: Context, { pod, grant }: Authorized): Promise<boolean> {
  const plain = new Request(request.url, { headers: request.headers });
  const base = { kind: "base", method: "GET", query: "" } as const;
  const answer = await services.callRegistry(pod, podRequest(pod, base, { jwt: jwtOf(grant), request: plain }));
  if (answer.ok) await answer.value.body?.cancel();
  return answer.ok && answer.value.ok;
}

type OwnBlob = { readonly endpoint: BlobEndpoint; readonly pod: Authorized["pod"] };

/** The DELETE goes on even if the client goes away, because a deleted blob must not be served by an earlier proof. */
function deleteBlob(
  sent: FetchRequest,
  { services }: Context,
  { endpoint, pod, grant }: OwnBlob & { readonly grant: Grant },
): Promise<PodReply> {
  const answered = services.callRegistry(pod, sent).then((answer) => {
    const isDone = answer.ok && answer.value.ok;
    const isRefused = answer.ok && [401, 403].includes(answer.value.status);
    // Without an answer the blob may be deleted. But a client whose right was not confirmed must not make the edge forget a proof by asking.
    if (grant.kind === "undecided" ? isDone : !isRefused) services.proofs.forget(ownedBlob(pod, endpoint));
    return answer;
  });
  services.waitUntil(answered);
  return answered;
}

/** A client's own HEAD proves as much as one that the edge sends for it. */
async function headBlob(sent: FetchRequest, { services }: Context, { endpoint, pod }: OwnBlob): Promise<PodReply> {
  const blob = ownedBlob(pod, endpoint);
  const answer = await services.callRegistry(pod, sent);
  if (!answer.ok) return answer;
  if (provesBlob(answer.value, blob.digest, pod)) services.proofs.record(blob, services.now);
  if (answer.value.status === 404) services.waitUntil(services.proofs.forgetMissing(blob));
  return answer;
}
