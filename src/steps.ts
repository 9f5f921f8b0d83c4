import { type Answer, type AnyRefusal, type Challenger, refuse } from "./answer.ts";
import { type Grant, grantFor, identify } from "./auth/authenticate.ts";
import type { Token } from "./auth/bundle.ts";
import { type BlobRequest, followRedirect, redirectBlob } from "./blobs/redirect.ts";
import type { Pod } from "./directory/directory.ts";
import { type Resolution, resolvePod } from "./directory/resolve.ts";
import { jsonResponse } from "./lib/json-response.ts";
import { err, ok, type Result } from "./lib/result.ts";
import { formatChallenge, parseChallenge } from "./oci/challenge.ts";
import type { NamelessEndpoint, RegistryEndpoint, RepositoryEndpoint } from "./oci/endpoint.ts";
import { countParameter, parameter } from "./oci/query.ts";
import { isDigest } from "./oci/reference.ts";
import { type Access, requiredAccess } from "./oci/scope.ts";
import { settleMount } from "./pods/mount.ts";
import { podRequest } from "./pods/pod-request.ts";
import { rewriteResponse } from "./pods/rewrite.ts";
import { openPin, pinParameter } from "./pods/upload-pin.ts";
import type { Services } from "./services.ts";

/** The steps of `handle`, each with the request it belongs to. */
export type Context<E extends RegistryEndpoint> = {
  readonly request: Request;
  readonly endpoint: E;
  readonly challenger: Challenger;
  readonly services: Services;
  /** Null: this fleet asks for no tokens. */
  readonly token: Token | null;
};

/** Where a request may go, and with what. */
export type Authorized = { readonly pod: Pod; readonly grant: Grant };

/** `/v2/` is answered here for a token that verifies; what else names no repository is for the token's own Pod. */
export async function serveNameless(context: Context<NamelessEndpoint>): Promise<Answer> {
  const { endpoint, services, token, challenger } = context;
  if (token === null) return endpoint.kind === "base" ? pong() : forwardToDefault(context);
  const identified = await identify(token, services.directory, services.now);
  if (!identified.ok) return refuse(identified.error, endpoint, challenger);
  if (endpoint.kind === "base" && identified.value.grant.kind === "granted") return pong();
  return forward(context, identified.value);
}

async function forwardToDefault(context: Context<NamelessEndpoint>): Promise<Answer> {
  const { endpoint, services, challenger } = context;
  const settings = await services.directory.settings();
  if (!settings.ok) return refuse(settings.error, endpoint, challenger);
  const pod = settings.value.default === undefined ? ok(null) : await services.directory.pod(settings.value.default);
  if (!pod.ok) return refuse(pod.error, endpoint, challenger);
  if (pod.value === null) return refuse({ reason: "name-unknown" }, endpoint, challenger);
  return forward(context, { pod: pod.value, grant: { kind: "open" } });
}

/** end-1. */
const pong = (): Answer => ({
  response: jsonResponse({}, { headers: { "Docker-Distribution-Api-Version": "registry/2.0" } }),
  outcome: "ping",
  endpoint: "base",
});

/** The Pod of the name; an upload stays with the Pod that its push location was sealed for. */
export async function locate({
  endpoint,
  services,
}: Context<RepositoryEndpoint>): Promise<Result<Resolution, AnyRefusal>> {
  const resolution = await resolvePod(services.directory, endpoint.name, digestOf(endpoint));
  if (!resolution.ok || endpoint.kind !== "upload") return resolution;
  const pins = countParameter(endpoint.query, pinParameter);
  if (pins === 0) return resolution;
  const pin = pins === 1 ? (parameter(endpoint.query, pinParameter) ?? "") : "";
  const pinned = { repository: endpoint.name, upload: endpoint.upload };
  const id = await openPin(pin, pinned, services.config.uploadKeys, services.now);
  if (id === null) return err({ reason: "upload-unknown" });
  const pod = await services.directory.pod(id);
  return pod.ok ? ok({ ...resolution.value, pod: pod.value }) : pod;
}

function digestOf(endpoint: RepositoryEndpoint) {
  if (endpoint.kind === "blob" || endpoint.kind === "referrers") return endpoint.digest;
  return endpoint.kind === "manifest" && isDigest(endpoint.reference) ? endpoint.reference : null;
}

/** The grant at the Pod, if the operators let such a request through at all. */
export async function authorize(
  context: Context<RepositoryEndpoint>,
  { pod, blocked }: Resolution,
): Promise<Result<Authorized, AnyRefusal>> {
  const { endpoint, services, token } = context;
  // The first is the endpoint's own; what else a request reads, a mount's source, is for the Pod to check.
  const [wanted] = requiredAccess(endpoint) as readonly [Access];
  const open: Result<Grant, AnyRefusal> = ok({ kind: "open" });
  const grant = token === null ? open : await grantFor(token, pod, wanted, services.directory, services.now);
  if (!grant.ok) return grant;
  if (blocked !== null) return err({ reason: "blocked", text: blocked });
  if (pod === null) return err({ reason: "name-unknown" });
  if (pod.state === "down")
    return err({ reason: "down", text: pod.reason ?? "the registry of this repository is down" });
  const reads = endpoint.method === "GET" || endpoint.method === "HEAD";
  if (pod.state === "read-only" && !reads) {
    return err({ reason: "read-only", text: pod.reason ?? "the registry of this repository is read-only for now" });
  }
  return ok({ pod, grant: grant.value });
}

/** Null: no redirect is the edge's to give, and the Pod is to answer. */
export async function redirect(
  context: Context<RepositoryEndpoint>,
  { pod, grant }: Authorized,
): Promise<Answer | null> {
  const { endpoint, request, services, challenger } = context;
  if (endpoint.kind !== "blob" || endpoint.method !== "GET" || grant.kind === "undecided") return null;
  const head = podRequest(pod, { ...endpoint, method: "HEAD" }, jwtOf(grant), request);
  // A range is for the storage: the proof is of the whole blob.
  for (const name of ["Range", "If-None-Match", "If-Modified-Since", "If-Range"]) head.headers.delete(name);
  const redirected = await redirectBlob(blobRequest(context, pod, endpoint.digest), () => services.fetchPod(pod, head));
  if (!redirected.ok) return attribute(refuse(redirected.error, endpoint, challenger), endpoint, pod);
  return redirected.value === null
    ? null
    : attribute({ response: redirected.value, outcome: "redirected", endpoint: "blob" }, endpoint, pod);
}

const blobRequest = (
  { services }: Context<RegistryEndpoint>,
  pod: Pod,
  digest: BlobRequest["digest"],
): BlobRequest => ({
  digest,
  pod,
  openSecret: services.openSecret,
  now: services.now,
});

const jwtOf = (grant: Grant): string | null => (grant.kind === "open" ? null : grant.jwt);

export async function forward(context: Context<RegistryEndpoint>, { pod, grant }: Authorized): Promise<Answer> {
  const { endpoint, request, services, challenger } = context;
  const refused = (refusal: AnyRefusal) => attribute(refuse(refusal, endpoint, challenger), endpoint, pod);
  const settled = "name" in endpoint ? await settleMount(endpoint, pod, services.directory) : ok(endpoint);
  if (!settled.ok) return refused(settled.error);
  const answer = await services.fetchPod(pod, podRequest(pod, settled.value, jwtOf(grant), request));
  if (!answer.ok) return refused(answer.error);
  if (endpoint.kind === "blob" && endpoint.method !== "DELETE" && isRedirect(answer.value)) {
    const followed = await followRedirect(endpoint.method, answer.value, blobRequest(context, pod, endpoint.digest));
    return followed.ok
      ? attribute({ response: followed.value, outcome: "redirected", endpoint: "blob" }, endpoint, pod)
      : refused(followed.error);
  }
  const challenge = parseChallenge(answer.value.headers.get("WWW-Authenticate"));
  // Only the Pod could judge this token, and a name without a Pod must read the same.
  if (answer.value.status === 401 && grant.kind === "undecided") {
    return refused({ reason: "unauthorized", error: challenge?.error ?? "invalid_token" });
  }
  const { uploadKeys } = services.config;
  const edgeOrigin = new URL(request.url).origin;
  const rewritten = await rewriteResponse(answer.value, { pod, endpoint, edgeOrigin, uploadKeys, now: services.now });
  if (!rewritten.ok) return refused(rewritten.error);
  const response = rewritten.value;
  if (response.headers.has("WWW-Authenticate")) {
    response.headers.set("WWW-Authenticate", formatChallenge({ ...challenger, ...ownChallenge(endpoint, challenge) }));
  }
  const streamed = endpoint.kind === "blob" && endpoint.method === "GET" && response.ok;
  return attribute({ response, outcome: streamed ? "streamed" : "forwarded", endpoint: endpoint.kind }, endpoint, pod);
}

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
