import { grantFor, issuersOf, jwtOf, userOf, withoutSubject } from "../auth/grant.ts";
import { hasObjectKey } from "../blobs/sign.ts";
import { unknownClient } from "../directory/clients.ts";
import type { Pod } from "../directory/directory.ts";
import { resolvePod } from "../directory/resolve.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { FetchRequest } from "../net/fetch.ts";
import { textWithin } from "../net/within.ts";
import { parseDigest } from "../oci/digest.ts";
import { formatPath, type RegistryEndpoint, type RepositoryEndpoint } from "../oci/endpoint.ts";
import { apiVersionHeader, messageIn } from "../oci/errors.ts";
import { passGate } from "../pods/gate.ts";
import { copyMsFor, mountLimits, sealOrder } from "../pods/mount-order.ts";
import { plainText } from "../telemetry/log-line.ts";
import type { Asked, Authorized, Context } from "./authorize.ts";
import { authorizeThere } from "./authorize-there.ts";
import { type BlobEndpoint, isSignedFor, prove, signUrl, storesOf } from "./blob-url.ts";
import { gatewayKeys } from "./choose-gateway.ts";
import { type Reply, textOf } from "./refuse.ts";

/** A blob of one repository that the client wants in another repository too. */
type Mount = {
  readonly endpoint: Extract<RepositoryEndpoint, { readonly kind: "upload-start" }>;
  readonly blob: BlobEndpoint;
  readonly target: Authorized;
  readonly gateway: NonNullable<Pod["gateway"]>;
};

/**
 * Why a blob is not mounted, as a text for the log. Null if the log needs no reason: the source repository has no Pod, or it is at the target's Pod,
 * which mounts the blob by itself.
 */
type NotMounted = string | null;

/**
 * Mounts a blob of another Pod (end-11): the target's gateway copies it from the source's store. If nothing is mounted, returns null, and the client
 * gets a plain upload, because any other answer ends a push in some clients.
 */
export async function mountAcross(endpoint: RegistryEndpoint, { context, authorized }: Asked): Promise<Reply | null> {
  const wanted = readMount(endpoint);
  if (wanted === null) return null;
  const target = await targetOf(wanted, context, authorized);
  // The edge signs no URL for a token that only the Pod can judge.
  if (!target?.pod.gateway || target.grant.kind === "undecided") return null;
  const mount = { ...wanted, target, gateway: target.pod.gateway };
  const url = await sourceUrl(mount, context);
  const copied = url.ok ? await orderCopy(mount, url.value, context) : url;
  if (copied.ok) return mounted(mount);
  if (copied.error !== null) context.services.trace.notMounted = copied.error;
  return null;
}

type AskedMount = Pick<Mount, "endpoint" | "blob">;

/** Returns the mount that a request asks for. Null if the request names no source, or if the edge cannot tell the key of the blob's object. */
function readMount(endpoint: RegistryEndpoint): AskedMount | null {
  if (endpoint.kind !== "upload-start" || endpoint.mount === null || endpoint.digest !== null) return null;
  const { digest: text, from } = endpoint.mount;
  const digest = parseDigest(text);
  if (from.kind !== "name" || !digest.ok || !hasObjectKey(digest.value)) return null;
  return { endpoint, blob: { kind: "blob", method: "GET", name: from.name, digest: digest.value, query: "" } };
}

/** Returns the target of the mount. Null if the target is at the other Pod of a move and the client may not push there. */
async function targetOf({ endpoint, blob }: AskedMount, context: Context, authorized: Authorized) {
  if (authorized.moving === null || blob.name !== endpoint.name) return authorized;
  // While a group is being moved, `podctl move` copies a large blob by a mount from a repository to the same repository. The target is then this
  // repository at the other Pod.
  const there = await authorizeThere(endpoint, context, authorized);
  if (!there.ok) return null;
  const { grant } = there.value;
  return grant.kind === "edge" ? null : { ...there.value, grant };
}

/** Signs a URL of the source's store, after the same checks as for the client's own GET of the blob. */
async function sourceUrl(mount: Mount, context: Context): Promise<Result<string, NotMounted>> {
  const { services, request } = context;
  const source = await authorizeSource(mount, context);
  if (!source.ok) return source;
  const { blob, authorized } = source.value;
  // The gateway fetches from the store, and the edge does not know where the gateway is. So only a store without conditions about its client fits.
  const stores = await storesOf(blob.digest, unknownClient, { ...authorized, services });
  if (!isSignedFor(stores)) return err("the source has no store that may be used from everywhere");
  // We leave out the body of the client's request, because it is meant for the upload and not for the source.
  const bodyless = new Request(request.url, { headers: request.headers });
  const proven = await prove(blob, { request: bodyless, services }, authorized);
  if (!proven.ok) return err(`the source: ${textOf(proven.error)}`);
  if (!proven.value) return err("the source does not have the blob");
  const url = await signUrl("GET", blob, { services, authorized, stores });
  if (url === null) return err("the source's next store is the Pod's own");
  return url.ok ? url : err(url.error.text);
}

/** A mount's source. `blob` has the repository's current name, even if the client used an old one. */
type Source = { readonly blob: BlobEndpoint; readonly authorized: Authorized };

/**
 * A source is refused if it does not pass the gate. It is also refused if our copy of the directory may be outdated, because a copied blob cannot be
 * taken back.
 */
async function authorizeSource(
  { blob: asked, target }: Mount,
  { services, token }: Context,
): Promise<Result<Source, NotMounted>> {
  const { name, digest } = asked;
  const wanted = { type: "repository", name, actions: ["pull"] };
  const issuers = token === null ? null : await issuersOf(token, wanted, services);
  const chosenBy = token === null ? "directory" : (issuers ?? userOf(target.pod, target.grant));
  const resolution = await resolvePod(services.directory, { name, digest, chosenBy, mustBeCurrent: true });
  if (!resolution.ok) return err(resolution.error.text);
  const { pod, renamed, assignment, stale } = resolution.value;
  if (pod === null || pod.id === target.pod.id) return err(null);
  if (stale !== null) return err(stale);
  const admitted = passGate("GET", resolution.value, services);
  if (!admitted.ok) return err(`the source: ${textOf(admitted.error)}`);
  const blob = { ...asked, name: renamed?.to ?? name };
  const place = { pod: admitted.value, assignment, moving: null, oldName: renamed?.from ?? null };
  if (token === null) return ok({ blob, authorized: { ...place, grant: { kind: "open" } } });
  const grant = await grantFor(token, { pod, wanted: { ...wanted, name: blob.name } }, withoutSubject(services));
  if (!grant.ok) return err("the token does not allow a pull of the source");
  // For the copy, the edge signs a URL of the source's store, and may ask the source's Pod for a proof. With an `undecided` grant, the edge may not
  // sign. With an `edge` grant, it has no token for the Pod.
  if (grant.value.kind !== "granted") return err("the edge cannot verify the source's part of the token");
  return ok({ blob, authorized: { ...place, grant: grant.value } });
}

/** Only the answer 201 means that the target repository has the blob now. */
async function orderCopy(mount: Mount, url: string, context: Context): Promise<Result<null, NotMounted>> {
  const { services } = context;
  const { pod } = mount.target;
  const order = await orderRequest(mount, url, context);
  if (!order.ok) return order;
  const answer = await services.callGateway(pod, order.value);
  if (!answer.ok) return err(`the gateway: ${textOf(answer.error)}`);
  const { status } = answer.value;
  const message = messageOf((await textWithin(answer.value, MAX_ANSWER_BYTES)) ?? "");
  if (status === 201) return ok(null);
  return err(
    `the gateway answered ${status}${message === null ? "" : `: ${plainText(message, MAX_MESSAGE_CHARACTERS)}`}`,
  );
}

/** Reads the message of a gateway's error. Null if there is none, or if the message has a URL: a signed URL must not come into the log. */
function messageOf(text: string): string | null {
  const message = messageIn(text);
  return message?.includes("://") ? null : message;
}

const MAX_MESSAGE_CHARACTERS = 300;

const MAX_ANSWER_BYTES = 16 * 1024;
/** How long the order and its answer may take on the network, in addition to the time for the copy itself. */
const wayMs = 3_000;

async function orderRequest(
  { endpoint, blob, target: { pod, grant }, gateway }: Mount,
  url: string,
  { request, origin, services }: Context,
): Promise<Result<FetchRequest, NotMounted>> {
  const keys = await gatewayKeys(pod.id, gateway, services);
  if (!keys.ok) return err(keys.error.text);
  // The client has waited since its request began, for example while the source was asked for the blob. So less time is left for the copy.
  const passedMs = services.directory.now().getTime() - services.now.getTime();
  const copyMs = Math.max(0, copyMsFor(request.headers.get("User-Agent")) - passedMs);
  const to = { pod: pod.id, repository: endpoint.name, token: jwtOf(grant), registry: pod.registry };
  const order = { ...to, digest: blob.digest, url, edge: origin, copyMs };
  const body = await sealOrder(order, { keys: keys.value, now: services.now });
  return ok({
    url: gateway.url + formatPath(endpoint),
    method: "POST",
    headers: new Headers({ "Content-Type": "application/jose" }),
    body,
    bodyBytes: body.length,
    deadlineMs: copyMs + mountLimits.cleanUpMs + wayMs,
  });
}

const mounted = ({ endpoint, blob, target }: Mount): Reply =>
  ok({
    response: new Response(null, {
      status: 201,
      headers: {
        ...apiVersionHeader,
        Location: formatPath({ ...blob, name: endpoint.name }),
        "Docker-Content-Digest": blob.digest,
        "Cache-Control": "no-store",
      },
    }),
    outcome: "mounted",
    pod: target.pod.id,
  });
