import { storesFor } from "../blobs/choose-store.ts";
import { readClient } from "../blobs/client.ts";
import { type BlobRequest, followRedirect, redirectBlob } from "../blobs/redirect.ts";
import type { Pod } from "../directory/directory.ts";
import { ok } from "../lib/result.ts";
import { formatChallenge, parseChallenge } from "../oci/challenge.ts";
import type { RegistryEndpoint, RepositoryEndpoint } from "../oci/endpoint.ts";
import { requiredAccess } from "../oci/scope.ts";
import { settleMount } from "../pods/mount.ts";
import { rewriteResponse } from "../pods/rewrite.ts";
import type { Authorized, Context } from "./context.ts";
import { accepts, exchange, prove } from "./redirect-blob.ts";
import { type Answer, type AnyRefusal, refuse } from "./refuse.ts";

/** Null: no redirect is the edge's to give, and the Pod is to answer. */
export async function redirect(
  context: Context<RepositoryEndpoint>,
  { pod, grant }: Authorized,
): Promise<Answer | null> {
  const { endpoint, challenger } = context;
  if (endpoint.kind !== "blob" || endpoint.method !== "GET") return null;
  const blob = blobRequest(context, { pod, grant }, endpoint);
  const redirected = await redirectBlob(blob, () => prove(context, { pod, grant }, endpoint));
  if (!redirected.ok) return attribute(refuse(redirected.error, endpoint, challenger), endpoint, pod);
  return redirected.value === null
    ? null
    : attribute({ response: redirected.value, outcome: "redirected", endpoint: "blob" }, endpoint, pod);
}

const blobRequest = (
  { services, request }: Context<RegistryEndpoint>,
  { pod, grant }: Authorized,
  { name, digest }: Extract<RegistryEndpoint, { kind: "blob" }>,
): BlobRequest => ({
  repository: name,
  digest,
  pod,
  // By a token that only the Pod can judge, the edge signs nothing.
  stores: grant.kind === "undecided" ? [] : storesFor(pod, readClient(request)),
  jwt: grant.kind === "granted" ? grant.jwt : null,
  openSecret: services.openSecret,
  now: services.now,
  trace: services.trace,
});

export async function forward(context: Context<RegistryEndpoint>, { pod, grant }: Authorized): Promise<Answer> {
  const { endpoint, request, services, challenger } = context;
  const refused = (refusal: AnyRefusal) => attribute(refuse(refusal, endpoint, challenger), endpoint, pod);
  const settled = "name" in endpoint ? await settleMount(endpoint, pod, services.directory) : ok(endpoint);
  if (!settled.ok) return refused(settled.error);
  const answer = await exchange(context, { pod, grant }, settled.value);
  if (!answer.ok) return refused(answer.error);
  if (endpoint.kind === "blob" && endpoint.method !== "DELETE" && isRedirect(answer.value)) {
    const blob = blobRequest(context, { pod, grant }, endpoint);
    const followed = await followRedirect(endpoint.method, answer.value, blob);
    return followed.ok
      ? attribute({ response: followed.value, outcome: "redirected", endpoint: "blob" }, endpoint, pod)
      : refused(followed.error);
  }
  const challenge = parseChallenge(answer.value.headers.get("WWW-Authenticate"));
  // Only the Pod could judge this token, and a name without a Pod must read the same. What a registry does not serve it refuses to anyone.
  if (grant.kind === "undecided" && isObjection(answer.value)) {
    const isJudged = answer.value.status !== 401 && (await accepts(context, { pod, grant }));
    if (!isJudged) return refused({ reason: "unauthorized", error: challenge?.error ?? "invalid_token" });
  }
  const { edgeKeys } = services.config;
  const edgeOrigin = new URL(request.url).origin;
  const rewritten = await rewriteResponse(answer.value, { pod, endpoint, edgeOrigin, edgeKeys, now: services.now });
  if (!rewritten.ok) return refused(rewritten.error);
  const response = rewritten.value;
  if (response.headers.has("WWW-Authenticate")) {
    response.headers.set("WWW-Authenticate", formatChallenge({ ...challenger, ...ownChallenge(endpoint, challenge) }));
  }
  const streamed = endpoint.kind === "blob" && endpoint.method === "GET" && response.ok;
  return attribute({ response, outcome: streamed ? "streamed" : "forwarded", endpoint: endpoint.kind }, endpoint, pod);
}

const isObjection = ({ status }: Response): boolean => status >= 400 && status < 500;

const isRedirect = ({ status }: Response): boolean => [301, 302, 303, 307, 308].includes(status);

/** The Pod's error, and of its scopes those of this endpoint's own names. */
function ownChallenge(endpoint: RegistryEndpoint, challenge: ReturnType<typeof parseChallenge>) {
  const required = requiredAccess(endpoint);
  const kept = (challenge?.access ?? []).filter(({ name }) => required.some((access) => access.name === name));
  return { access: kept.length === 0 ? required : kept, error: challenge?.error ?? null };
}

const attribute = (answer: Answer, endpoint: RegistryEndpoint, pod: Pod): Answer => ({
  ...answer,
  pod: pod.id,
  ...("name" in endpoint ? { repository: endpoint.name } : {}),
});
