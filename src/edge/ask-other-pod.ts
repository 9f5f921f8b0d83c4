import { isSwitched, type Moving } from "../directory/moves.ts";
import { ok } from "../lib/result.ts";
import { isOutage, isOutageStatus } from "../net/outage.ts";
import type { Digest } from "../oci/digest.ts";
import { digestOf, type RegistryEndpoint } from "../oci/endpoint.ts";
import { covers, isRead } from "../oci/scope.ts";
import type { Authorized, Context } from "./authorize.ts";
import { authorizeThere } from "./authorize-there.ts";
import type { BlobEndpoint } from "./blob-url.ts";
import { forward } from "./forward.ts";
import { otherOfRegistry } from "./move-within-registry.ts";
import type { ManifestEndpoint } from "./record-manifest.ts";
import { redirectBlob } from "./redirect-blob.ts";
import type { Reply } from "./refuse.ts";
import { serveManifest } from "./serve-manifest.ts";

type Item = ManifestEndpoint | BlobEndpoint;
type Asked = { readonly context: Context; readonly authorized: Authorized };

/**
 * Returns the reply for the client. If the serving Pod lacks an item while its group is being moved, the edge may ask the other Pod of the move. A
 * manifest without a tag, or one that was pushed late, may be only there.
 */
export async function askOtherPod(reply: Reply, endpoint: RegistryEndpoint, asked: Asked): Promise<Reply> {
  if (!reply.ok || (endpoint.kind !== "manifest" && endpoint.kind !== "blob")) return reply;
  const { status, ok: isDone } = reply.value.response;
  const isToDelete = isDeletedAtBoth(endpoint, asked) && (status === 404 || isDone);
  if (!isToDelete && (status !== 404 || !isLookedFor(endpoint, asked))) return reply;
  // If both Pods have the same registry, they have the same content, so the other Pod is not asked.
  if ((await otherOfRegistry(asked.authorized, asked.context.services)) !== null) return reply;
  // When the new Pod takes writes, a DELETE by digest goes to both Pods. Otherwise the edge would still serve from the old Pod what was deleted.
  if (isToDelete) return deleteThere(reply, endpoint, asked);
  if (await isDeleted(endpoint, asked)) return reply;
  const found = await serveThere(endpoint, asked);
  const isFound = found.ok && found.value.response.status < 400;
  return isFound || mayBeThere(found, asked) ? dropped(reply, found) : dropped(found, reply);
}

/**
 * Whether the client gets the old Pod's failure instead of the new Pod's 404. The old Pod may still have what the new Pod lacks, so without the old
 * Pod's answer, the 404 could be wrong.
 */
function mayBeThere(found: Reply, { authorized: { moving } }: Asked): boolean {
  if (moving === null || !isSwitched(moving)) return false;
  if (found.ok) return isOutageStatus(found.value.response.status);
  return isOutage(found.error) || found.error.reason === "down" || found.error.reason === "directory";
}

/**
 * Whether the edge asks the other Pod for an item that the serving Pod lacks.
 * - A tag: only in the phase `switch`, because a late push may have brought the tag to the other Pod. In `settle`, a missing tag was deleted.
 * - HEAD by a client that may push: no. The client does not upload what a HEAD finds, so the serving Pod would never get the item.
 * - HEAD, and the edge cannot tell whether the client may push: for a manifest yes, because docker's pulls begin with such a HEAD. For a blob no,
 *   because a pusher would then not upload the blob.
 */
function isLookedFor(endpoint: Item, { authorized: { moving, grant } }: Asked): boolean {
  if (moving === null || moving.phase === "copy" || !isRead(endpoint.method)) return false;
  if (digestOf(endpoint) === null && moving.phase !== "switch") return false;
  if (endpoint.method === "GET") return true;
  if (grant.kind !== "granted") return endpoint.kind === "manifest";
  return !covers(grant.access, { type: "repository", name: endpoint.name, actions: ["push"] });
}

const isDeletedAtBoth = (endpoint: Item, { authorized: { moving } }: Asked): boolean =>
  endpoint.method === "DELETE" && moving?.phase === "settle" && digestOf(endpoint) !== null;

/** Deletes at the other Pod too. If only the other Pod had the item, the client gets that Pod's answer. */
async function deleteThere(reply: Reply, endpoint: Item, asked: Asked): Promise<Reply> {
  const digest = digestOf(endpoint);
  if (digest !== null) asked.context.services.movedTombstones.add(tombstoneKey(endpoint, digest, asked.authorized));
  const there = await serveThere(endpoint, asked);
  const isOnlyThere = reply.ok && !reply.value.response.ok && there.ok && there.value.response.ok;
  return isOnlyThere ? dropped(reply, there) : dropped(there, reply);
}

async function isDeleted(endpoint: Item, asked: Asked): Promise<boolean> {
  const digest = digestOf(endpoint);
  return (
    digest !== null && asked.context.services.movedTombstones.has(tombstoneKey(endpoint, digest, asked.authorized))
  );
}

/**
 * Returns the key under which the edge remembers a deletion. The key names the move, because the same content may be pushed again after the move, and
 * must not be taken for deleted in a later move.
 */
export function tombstoneKey(
  { kind, name }: Pick<Item, "kind" | "name">,
  digest: Digest,
  { pod, moving }: { readonly pod: { readonly id: string }; readonly moving: Pick<Moving, "since" | "other"> | null },
): string {
  const pods = [pod.id, moving?.other ?? ""].toSorted().join("/");
  return `moved/${moving?.since ?? ""}/${pods}/${kind}/${name}/${digest}`;
}

/** Answers from the other Pod, as if that Pod served the group. */
async function serveThere(endpoint: Item, { context, authorized }: Asked): Promise<Reply> {
  const there = await authorizeThere(endpoint, context, authorized);
  if (!there.ok) return there;
  const held =
    (await redirectBlob(endpoint, context, there.value)) ?? (await serveManifest(endpoint, context, there.value));
  const reply = held ?? (await forward(endpoint, context, there.value));
  return reply.ok ? ok({ ...reply.value, pod: there.value.pod.id }) : reply;
}

/** Returns `reply`, and cancels the body of `unused`, which the client does not get. */
async function dropped(unused: Reply, reply: Reply): Promise<Reply> {
  if (unused.ok) await unused.value.response.body?.cancel();
  return reply;
}
