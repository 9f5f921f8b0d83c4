import type { Pod } from "../directory/directory.ts";
import type { Resolution } from "../directory/resolve.ts";
import type { Brand } from "../lib/brand.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { isRead } from "../oci/scope.ts";
import type { Refusal } from "../refusal.ts";

/** A Pod whose registry may get this request. Only {@link passGate} makes such a value, and every call to a registry needs it. */
export type AdmittedPod = Brand<Pod, "AdmittedPod">;

/**
 * Every request passes this gate before it reaches a registry. The gate refuses requests because of a block or the Pod's state. While the directory is
 * outdated, the gate also refuses writes, because a push to the Pod that owned the name yesterday would be lost. It then also refuses all requests for a
 * name without a Pod as "directory". "Name unknown" could be wrong, because the name may have been assigned after our copy was read.
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
