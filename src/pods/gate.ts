import type { Pod } from "../directory/directory.ts";
import type { Resolution } from "../directory/resolve.ts";
import type { Brand } from "../lib/brand.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { isRead } from "../oci/scope.ts";
import type { Refusal } from "../refusal.ts";

/** A Pod whose registry this request may go to. Only {@link passGate} makes one, and every call to a registry takes one. */
export type AdmittedPod = Brand<Pod, "AdmittedPod">;

/**
 * The one gate before every registry. It refuses by blocks and by the Pod's state. It also refuses what may not rest on an outdated directory: a write,
 * because a push to the Pod that owned the name yesterday is lost, and a name without a Pod, because it may have been assigned since.
 */
export function passGate(method: string, { pod, blocked, stale }: Resolution): Result<AdmittedPod, Refusal> {
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
  return ok(pod as AdmittedPod);
}
