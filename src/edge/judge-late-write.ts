import { lateAfterMs, refusesWrites } from "../directory/moves.ts";
import { resolvePod } from "../directory/resolve.ts";
import { err } from "../lib/result.ts";
import { hasRepository, type RegistryEndpoint } from "../oci/endpoint.ts";
import { isRead } from "../oci/scope.ts";
import { beingMoved } from "../pods/gate.ts";
import type { Refusal } from "../refusal.ts";
import type { Asked } from "./authorize.ts";
import type { Reply } from "./refuse.ts";

/**
 * Refuses a slow write that succeeded, if the group is frozen or at another Pod by now, or if the edge cannot find this out. The write may have ended
 * after `podctl move` had compared both Pods. The new Pod may then lack what was written, so the client must not hear of a success.
 */
export async function judgeLateWrite(reply: Reply, endpoint: RegistryEndpoint, asked: Asked): Promise<Reply> {
  const { directory, now } = asked.context.services;
  if (!reply.ok || !reply.value.response.ok || isRead(endpoint.method)) return reply;
  if (directory.now().getTime() - now.getTime() < lateAfterMs(endpoint.method)) return reply;
  const refusal = await refusalOf(endpoint, asked);
  if (refusal === null) return reply;
  await reply.value.response.body?.cancel();
  return err(refusal);
}

/** Says why a write that was allowed when it began would be refused now. Null if it would still be allowed. */
async function refusalOf(endpoint: RegistryEndpoint, { context, authorized: { pod } }: Asked): Promise<Refusal | null> {
  // An upload of a layer breaks no image, because a Pod that lacks the layer refuses each manifest that names the layer.
  if (!hasRepository(endpoint) || endpoint.kind === "upload" || endpoint.kind === "upload-start") return null;
  const { name } = endpoint;
  const current = await resolvePod(context.services.directory, { name, mustBeCurrent: true });
  if (!current.ok) return current.error;
  const { moving, stale } = current.value;
  if (stale !== null) return { reason: "directory", text: stale };
  const isElsewhere = current.value.pod?.registry !== pod.registry;
  return isElsewhere || (moving !== null && refusesWrites(moving)) ? beingMoved(moving?.prefix ?? name, pod) : null;
}
