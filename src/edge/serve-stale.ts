import { type Grant, precedesPush } from "../auth/grant.ts";
import { resolvePod } from "../directory/resolve.ts";
import { err, ok } from "../lib/result.ts";
import { isOutage, isOutageStatus } from "../net/outage.ts";
import type { Digest } from "../oci/digest.ts";
import type { RegistryEndpoint } from "../oci/endpoint.ts";
import { isDigest, isTag } from "../oci/reference.ts";
import { isRead } from "../oci/scope.ts";
import { passPod } from "../pods/gate.ts";
import { withNoTransform } from "../pods/rewrite.ts";
import type { Asked, Context } from "./authorize.ts";
import { otherOfRegistry } from "./move-within-registry.ts";
import type { ManifestEndpoint } from "./record-manifest.ts";
import { isPlain, redirectHeld } from "./redirect-blob.ts";
import { type Answer, type Reply, textOf } from "./refuse.ts";
import { isServable, responseOf } from "./serve-manifest.ts";

/**
 * While the Pod's registry fails, answers a pull from the edge's caches if they have it, within the Pod's `outage.staleSeconds`. Otherwise returns
 * `reply`.
 */
export async function orStale(reply: Reply, endpoint: RegistryEndpoint, asked: Asked): Promise<Reply> {
  const isFailed = reply.ok ? isOutageStatus(reply.value.response.status) : isOutage(reply.error);
  if (!isFailed || !isRead(endpoint.method) || asked.authorized.pod.outage.staleSeconds === 0) return reply;
  const held = await findHeld(endpoint, asked);
  if (held === null || !held.ok) return held ?? reply;
  if (reply.ok) await reply.value.response.body?.cancel();
  return ok(asStale(held.value, failureOf(reply)));
}

type OwnGrant = Extract<Grant, { readonly kind: "edge" }>;

/**
 * Answers a request whose grant the edge itself gave while the token service failed. The answer comes only from the edge's caches, because no Pod can
 * read such a grant.
 */
export async function serveHeld(endpoint: RegistryEndpoint, asked: Asked<OwnGrant>): Promise<Reply> {
  const { context, authorized } = asked;
  context.services.trace.grace = authorized.pod.id;
  const held = isRead(endpoint.method) ? await findHeld(endpoint, asked) : null;
  if (held === null) return err({ reason: "down", text: onlyHeld, pod: authorized.pod.id });
  return held.ok ? ok(asStale(held.value, "the token service failed when this grant was given")) : held;
}

const onlyHeld = "this registry cannot check who may pull, and has no copy of what was asked for; try again";

function asStale({ response }: Answer, cause: string): Answer {
  // `Warning` is from RFC 7234 §5.5.1. RFC 9111 has dropped this header, but logs and people know it.
  response.headers.set("Warning", '110 - "response is stale"');
  return { response, outcome: "stale", cause };
}

const failureOf = (reply: Reply): string =>
  reply.ok ? `the Pod answered with status ${reply.value.response.status}` : textOf(reply.error);

/**
 * Looks for a copy of what the Pod has. During a move within one registry, a copy of what the other Pod has will do, because both have the same
 * content.
 */
async function findHeld(endpoint: RegistryEndpoint, asked: Asked<Grant>): Promise<Reply | null> {
  const { context, authorized } = asked;
  const held = await findHeldAt(endpoint, asked);
  if (held !== null) return held;
  const other = passPod(endpoint.method, await otherOfRegistry(authorized, context.services));
  return other.ok ? findHeldAt(endpoint, { context, authorized: { ...authorized, pod: other.value } }) : null;
}

async function findHeldAt(endpoint: RegistryEndpoint, asked: Asked<Grant>): Promise<Reply | null> {
  if (endpoint.kind !== "manifest" && endpoint.kind !== "blob") return null;
  if (precedesPush(endpoint, asked.authorized.grant)) return null;
  // A request with a query may ask for something else than this blob, and may fail although the Pod is up. So the client gets the failure, and
  // nothing from the caches.
  if (endpoint.kind === "blob") return isPlain(endpoint) ? redirectHeld(endpoint, asked) : null;
  return isServable(endpoint, asked.authorized) ? findHeldManifest(endpoint, asked) : null;
}

async function findHeldManifest(
  { name: repository, reference }: ManifestEndpoint,
  { context: { request, services }, authorized: { pod } }: Asked<Grant>,
): Promise<Reply | null> {
  const { kept, tags } = services.manifests;
  const tagged = isTag(reference) ? await tags.find({ pod, repository, tag: reference }) : null;
  const digest = isDigest(reference) ? reference : tagged?.digest;
  if (digest === undefined) return null;
  // The gate saw no digest in a request by tag, so we check here whether the tag's digest is blocked.
  const blocked = tagged === null ? null : await blockOf(digest, { repository, services });
  if (blocked !== null) return blocked;
  const tag = tagged === null ? {} : { taggedAtMs: tagged.askedAtMs };
  const manifest = await kept.findStale({ pod, repository, digest }, tag);
  const response = manifest === null ? null : await responseOf(manifest, request);
  // The kept headers may let caches keep this answer for a year, but a tag may change after the outage.
  response?.headers.set("Cache-Control", withNoTransform("no-store"));
  return response === null ? null : ok({ response, outcome: "stale" });
}

async function blockOf(
  digest: Digest,
  { repository, services }: { readonly repository: ManifestEndpoint["name"]; readonly services: Context["services"] },
): Promise<Reply | null> {
  // With `chosenBy: "pod"`, the name is not put into the memory that users depend on while KV fails. Otherwise one Pod could fill this memory with
  // its own names.
  const resolution = await resolvePod(services.directory, { name: repository, digest, chosenBy: "pod" });
  if (!resolution.ok) return resolution;
  const { blocked } = resolution.value;
  return blocked === null ? null : err({ reason: "blocked", text: blocked });
}
