import { type Grant, invalidToken, jwtOf, type PodGrant, userOf } from "../auth/grant.ts";
import { provesBlob } from "../blobs/head-proof.ts";
import type { Pod } from "../directory/directory.ts";
import type { ChosenBy } from "../directory/kv-cache.ts";
import { ok, type Result } from "../lib/result.ts";
import type { FetchRequest } from "../net/fetch.ts";
import { announcedBytes, checkHeaderCount } from "../net/headers.ts";
import { parseChallenge } from "../oci/challenge.ts";
import { hasRepository, type RegistryEndpoint } from "../oci/endpoint.ts";
import type { RepositoryName } from "../oci/repository-name.ts";
import { covers, isRead } from "../oci/scope.ts";
import { endsAtMountChallenge, settleMount } from "../pods/mount.ts";
import { podRequest } from "../pods/request.ts";
import { rewriteResponse } from "../pods/rewrite.ts";
import { withTooLargeExplained } from "../pods/too-large.ts";
import type { Refusal } from "../refusal.ts";
import type { Asked, Authorized, Context } from "./authorize.ts";
import { type BlobEndpoint, ownedBlob } from "./blob-url.ts";
import { rewriteChallenge } from "./challenge.ts";
import { chooseGateway } from "./choose-gateway.ts";
import { writeAndForget } from "./forget.ts";
import { passManifest } from "./record-manifest.ts";
import { followRedirect, isPlain } from "./redirect-blob.ts";
import type { Reply } from "./refuse.ts";
import { restOf } from "./serve-manifest.ts";

type PodReply = Result<Response, Refusal>;

/** Streams a request to the Pod, and the Pod's answer to the client. URLs of the Pod are rewritten to lead to the edge, or to the Pod's gateway. */
export async function forward(endpoint: RegistryEndpoint, asked: Asked): Promise<Reply> {
  const { context, authorized } = asked;
  const isUndecided = authorized.grant.kind === "undecided";
  const counted = checkHeaderCount(context.request.headers);
  // A token that only the Pod can check may be a stranger's, and a stranger gets the same answer as for a name without a Pod.
  if (!counted.ok) return isUndecided ? invalidToken : counted;
  // Anyone can make up a token that only the Pod can check. A proxy in front of the Pod may store a whole body before the registry sees the token. So
  // the edge first asks the Pod about the token.
  if (isUndecided && hasBody(context) && !(await acceptsToken(asked))) return invalidToken;
  const settled = await settle(endpoint, asked);
  const answer = await callRegistry(settled, asked);
  // A client whose token the Pod does not accept is a stranger, and gets the same answer as for a name without a Pod.
  if (isUndecided && !(await isAccepted(answer, endpoint, asked))) {
    if (answer.ok) await answer.value.body?.cancel();
    return invalidToken;
  }
  if (!answer.ok) return answer;
  const isFollowed = endpoint.kind === "blob" && endpoint.method !== "DELETE" && isRedirect(answer.value);
  return isFollowed
    ? followRedirect(endpoint, answer.value, asked)
    : passAnswer(answer.value, endpoint, { ...asked, sent: settled });
}

const hasBody = ({ request: { method, body, headers } }: Context): boolean =>
  !isRead(method) && announcedBytes(body, headers) !== 0;

/** Turns a mount into a plain upload, if the client may not pull the mount's source or the source is not at this Pod. */
function settle(
  endpoint: RegistryEndpoint,
  { context, authorized: { pod, grant } }: Asked,
): RegistryEndpoint | Promise<RegistryEndpoint> {
  if (!hasRepository(endpoint)) return endpoint;
  const { request, services } = context;
  return settleMount(endpoint, pod, {
    directory: services.directory,
    visit: services,
    chosenBy: (name) => whoChose(grant, name, pod),
    mayPull: (name) => mayPull(grant, name) || !endsAtMountChallenge(request.headers.get("User-Agent")),
  });
}

type Passed = Asked & { readonly sent: RegistryEndpoint };

async function passAnswer(answer: Response, endpoint: RegistryEndpoint, passed: Passed): Promise<Reply> {
  const { context, authorized, sent } = passed;
  const { request, services, origin } = context;
  const { oldName } = authorized;
  const gateway = answer.status === 202 ? await chooseGateway(endpoint, context, authorized) : ok(null);
  if (!gateway.ok) {
    await answer.body?.cancel();
    return gateway;
  }
  const challenge = parseChallenge(answer.headers.get("WWW-Authenticate"));
  const said = await withTooLargeExplained(answer, announcedBytes(request.body, request.headers));
  const rewritten = await rewriteResponse(said, {
    pod: authorized.pod,
    endpoint,
    oldName,
    edgeOrigin: origin,
    edgeKeys: services.config.edgeKeys,
    now: services.now,
    gateway: gateway.value,
  });
  if (!rewritten.ok) {
    await said.body?.cancel();
    return rewritten;
  }
  const response = rewritten.value;
  if (response.headers.has("WWW-Authenticate")) {
    response.headers.set(
      "WWW-Authenticate",
      rewriteChallenge({ asked: asAsked(endpoint, oldName), sent }, challenge, context.challenger),
    );
  }
  const isStreamed = endpoint.kind === "blob" && endpoint.method === "GET" && response.ok;
  const rest = restOf(endpoint, response, passed);
  return ok({ response, outcome: isStreamed ? "streamed" : "forwarded", ...(rest === null ? {} : { rest }) });
}

/** Returns the endpoint with the name that the client used. The challenge must have this name, because the client's token request repeats it. */
const asAsked = (endpoint: RegistryEndpoint, oldName: RepositoryName | null): RegistryEndpoint =>
  oldName !== null && hasRepository(endpoint) ? { ...endpoint, name: oldName } : endpoint;

/**
 * Says whose budget pays when the edge looks up a mount's source in KV. If the token allows the source, the token's Pod pays, because a hostile Pod
 * can put any names into its tokens.
 */
function whoChose(grant: PodGrant, name: RepositoryName, pod: Pod): ChosenBy {
  if (grant.kind === "open") return "directory";
  if (grant.kind === "undecided") return "stranger";
  return mayPull(grant, name) ? { issuers: [pod.id] } : userOf(pod, grant);
}

/** Whether the grant may allow a pull of `name`. A token that only the Pod can check may allow it. */
const mayPull = (grant: Grant, name: RepositoryName): boolean =>
  grant.kind !== "granted" || covers(grant.access, { type: "repository", name, actions: ["pull"] });

const isRedirect = ({ status }: Response): boolean => [301, 302, 303, 307, 308].includes(status);

/**
 * Sends a request to the Pod, and updates what the edge remembers of the blob, the manifest or the tags that the request names. If the edge cannot
 * verify the token, or if the request has a query, an answer to a read changes nothing.
 */
function callRegistry(endpoint: RegistryEndpoint, { context, authorized: { pod, grant } }: Asked): Promise<PodReply> {
  const { request, services } = context;
  const sent = podRequest(pod, endpoint, { jwt: jwtOf(grant), request });
  const written = writeAndForget(sent, context, { endpoint, pod, grant });
  if (written !== null) return written;
  if (grant.kind === "undecided" || !isPlain(endpoint)) return services.callRegistry(pod, sent);
  if (endpoint.kind === "blob") return passBlob(sent, context, { endpoint, pod });
  if (endpoint.kind === "manifest") return passManifest(sent, context, { endpoint, pod });
  return services.callRegistry(pod, sent);
}

/**
 * Whether the Pod accepted a token that only the Pod can check. A success or a redirect to the blob shows that it did, and a 401 shows that it did
 * not. After any other answer, the edge asks the Pod for `/v2/`, because a proxy may send such an answer to everyone.
 */
async function isAccepted(answer: PodReply, endpoint: RegistryEndpoint, asked: Asked): Promise<boolean> {
  if (!answer.ok || answer.value.status === 401) return false;
  const isItsBlob = endpoint.kind === "blob" && provesBlob(answer.value, endpoint.digest, asked.authorized.pod);
  return answer.value.ok || isItsBlob || acceptsToken(asked);
}

/** Asks the Pod for `/v2/` (end-1), which any token that the Pod accepts may read. */
async function acceptsToken({ context, authorized: { pod, grant } }: Asked): Promise<boolean> {
  const { services, request } = context;
  const plain = new Request(request.url, { headers: request.headers });
  const base = { kind: "base", method: "GET", query: "" } as const;
  const answer = await services.callRegistry(pod, podRequest(pod, base, { jwt: jwtOf(grant), request: plain }));
  if (answer.ok) await answer.value.body?.cancel();
  return answer.ok && answer.value.ok;
}

type OwnBlob = { readonly endpoint: BlobEndpoint; readonly pod: Authorized["pod"] };

async function passBlob(sent: FetchRequest, { services }: Context, { endpoint, pod }: OwnBlob): Promise<PodReply> {
  const blob = ownedBlob(pod, endpoint);
  const answer = await services.callRegistry(pod, sent);
  if (!answer.ok) return answer;
  const isProven = endpoint.method === "HEAD" && provesBlob(answer.value, blob.digest, pod);
  if (isProven) services.proofs.record(blob, services.now);
  if (answer.value.status === 404) services.waitUntil(services.proofs.forgetMissing(blob, services.now));
  return answer;
}
