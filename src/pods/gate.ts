import type { Pod } from "../directory/directory.ts";
import { refusesWrites } from "../directory/moves.ts";
import type { Resolution } from "../directory/resolve.ts";
import type { Brand } from "../lib/brand.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { isRead } from "../oci/scope.ts";
import type { Refusal } from "../refusal.ts";

/** A Pod whose registry may get this request. Only {@link passGate} makes such a value, and every call to a registry needs it. */
export type AdmittedPod = Brand<Pod, "AdmittedPod">;

/** What the gate looks at. A request without a repository belongs to no group that could be moved. */
type Gated = Pick<Resolution, "pod" | "blocked" | "stale"> & Partial<Pick<Resolution, "moving">>;

const isBeingMoved = "is being moved to another registry; pushes work again in a few minutes";

/**
 * Every request passes this gate before it reaches a registry. The gate refuses requests because of a block, the Pod's state or a move. While the directory is
 * outdated, the gate also refuses writes, because a push to the Pod that owned the name yesterday would be lost. A name without a Pod then gets the same
 * error and not "name unknown", because the name may have been assigned since.
 */
export function passGate(method: string, { pod, blocked, stale, moving = null }: Gated): Result<AdmittedPod, Refusal> {
  if (blocked !== null) return err({ reason: "blocked", text: blocked });
  if (stale !== null && (pod === null || !isRead(method))) return err({ reason: "directory", text: stale });
  if (pod === null) return err({ reason: "name-unknown" });
  const { id, state, reason } = pod;
  if (state === "down") {
    return err({ reason: "down", text: reason ?? "the registry of this repository is down", pod: id });
  }
  if (state === "read-only" && !isRead(method)) {
    return err({
      reason: "read-only",
      text: reason ?? "the registry of this repository is read-only for now",
      pod: id,
    });
  }
  if (moving !== null && refusesWrites(moving) && !isRead(method)) {
    return err({ reason: "moving", text: `${moving.prefix} ${isBeingMoved}`, pod: id });
  }
  return ok(pod as AdmittedPod);
}
