import { precedesPush } from "../auth/grant.ts";
import { type Moving, mayLack } from "../directory/moves.ts";
import { ok } from "../lib/result.ts";
import type { Digest } from "../oci/digest.ts";
import { digestOf, type RegistryEndpoint } from "../oci/endpoint.ts";
import { isRead } from "../oci/scope.ts";
import type { Asked } from "./authorize.ts";
import { authorizeThere } from "./authorize-there.ts";
import type { BlobEndpoint } from "./blob-url.ts";
import { forward } from "./forward.ts";
import { otherOfRegistry } from "./move-within-registry.ts";
import type { ManifestEndpoint } from "./record-manifest.ts";
import { redirectBlob } from "./redirect-blob.ts";
import type { Reply } from "./refuse.ts";
import { serveManifest } from "./serve-manifest.ts";
import { orStale, serveHeld } from "./serve-stale.ts";

type Item = ManifestEndpoint | BlobEndpoint;

/**
 * Returns `reply`, unless the serving Pod lacks an item of a group that is being moved. Then the edge may ask the other Pod of the move, because a
 * manifest that has no tag, or was pushed late, may be only there.
 */
export async function askOtherPod(reply: Reply, endpoint: RegistryEndpoint, asked: Asked): Promise<Reply> {
  if (!reply.ok || (endpoint.kind !== "manifest" && endpoint.kind !== "blob")) return reply;
  const { status, ok: isDone } = reply.value.response;
  const isToDelete = isDeletedAtBoth(endpoint, asked) && (status === 404 || isDone);
  if (!isToDelete && (status !== 404 || !isLookedFor(endpoint, asked))) return reply;
  // If both Pods have the same registry, they have the same content, so the other Pod is not asked.
  if ((await otherOfRegistry(asked.authorized, asked.context.services)) !== null) return reply;
  if (isToDelete) return deleteThere(reply, endpoint, asked);
  if (await isDeleted(endpoint, asked)) return reply;
  const found = await serveThere(endpoint, asked);
  const isFound = found.ok && found.value.response.status < 400;
  return isFound || mayBeThere(found) ? dropped(reply, found) : dropped(found, reply);
}

/**
 * Whether the other Pod may have the item, because the edge could not ask that Pod, or because that Pod failed. The client then gets this failure,
 * because a 404 or the success of a deletion could be wrong. A 501 is no failure: with 501, as with 405, a registry refuses all deletions.
 */
function mayBeThere(found: Reply): boolean {
  if (!found.ok) return !["unauthorized", "name-unknown", "read-only"].includes(found.error.reason);
  const { status } = found.value.response;
  return status === 429 || (status >= 500 && status !== 501);
}

/**
 * Whether the edge asks the other Pod for an item that the serving Pod lacks.
 * - A tag: only in the phase `switch`, because a late push may have brought the tag to the other Pod. In `settle`, a missing tag was deleted.
 * - HEAD of a blob: no, because a client that pushes would not upload a blob that its HEAD finds. Clients that pull need no such HEAD.
 * - HEAD of a manifest: yes, because docker's pulls begin with such a HEAD. But if the token may push, no, for the same reason as for a blob.
 */
function isLookedFor(endpoint: Item, { authorized: { moving, grant } }: Asked): boolean {
  if (moving === null || !mayLack(moving) || !isRead(endpoint.method)) return false;
  if (digestOf(endpoint) === null && moving.phase !== "switch") return false;
  if (endpoint.method === "GET") return true;
  return endpoint.kind === "manifest" && !precedesPush(endpoint, grant);
}

/**
 * Whether a DELETE goes to both Pods. In `settle`, a DELETE of a digest does, because the edge would otherwise still serve from the old Pod what was
 * deleted. In `copy`, a DELETE goes only to the old Pod, because `podctl move` does not look again for the blobs of a copied manifest. If such a blob
 * were deleted at both Pods and then pushed again to the old one, the new Pod would lack it.
 */
const isDeletedAtBoth = (endpoint: Item, { authorized: { moving } }: Asked): boolean =>
  endpoint.method === "DELETE" && moving?.phase === "settle" && digestOf(endpoint) !== null;

/**
 * In `settle`, deletes the item at the old Pod too. If only the old Pod had the item, the client gets the old Pod's answer. If the old Pod fails, the
 * client gets the failure, so that it repeats the deletion. Otherwise the edge could later serve the item from the old Pod.
 */
async function deleteThere(reply: Reply, endpoint: Item, asked: Asked): Promise<Reply> {
  const digest = digestOf(endpoint);
  if (digest !== null) asked.context.services.movedTombstones.add(tombstoneKey(endpoint, digest, asked.authorized));
  const there = await serveThere(endpoint, asked);
  const isOnlyThere = reply.ok && !reply.value.response.ok && there.ok && there.value.response.ok;
  return isOnlyThere || mayBeThere(there) ? dropped(reply, there) : dropped(there, reply);
}

async function isDeleted(endpoint: Item, asked: Asked): Promise<boolean> {
  const digest = digestOf(endpoint);
  return (
    digest !== null && asked.context.services.movedTombstones.has(tombstoneKey(endpoint, digest, asked.authorized))
  );
}

/**
 * The key under which the edge remembers a deletion. The key names the move, because content that was deleted in one move may be pushed later, and
 * must not count as deleted in the next move.
 */
export function tombstoneKey(
  { kind, name }: Pick<Item, "kind" | "name">,
  digest: Digest,
  { pod, moving }: { readonly pod: { readonly id: string }; readonly moving: Pick<Moving, "since" | "other"> | null },
): string {
  const pods = [pod.id, moving?.other ?? ""].toSorted().join("/");
  return `moved/${moving?.since ?? ""}/${pods}/${kind}/${name}/${digest}`;
}

async function serveThere(endpoint: Item, { context, authorized }: Asked): Promise<Reply> {
  const there = await authorizeThere(endpoint, context, authorized);
  if (!there.ok) return there;
  const { grant } = there.value;
  const reply =
    grant.kind === "edge"
      ? await serveHeld(endpoint, { context, authorized: { ...there.value, grant } })
      : await servePod(endpoint, { context, authorized: { ...there.value, grant } });
  return reply.ok ? ok({ ...reply.value, pod: there.value.pod.id }) : reply;
}

async function servePod(endpoint: Item, asked: Asked): Promise<Reply> {
  const held = (await redirectBlob(endpoint, asked)) ?? (await serveManifest(endpoint, asked));
  return orStale(held ?? (await forward(endpoint, asked)), endpoint, asked);
}

async function dropped(unused: Reply, reply: Reply): Promise<Reply> {
  if (unused.ok) await unused.value.response.body?.cancel();
  return reply;
}
