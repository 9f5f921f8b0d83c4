import type { Token } from "../auth/bundle.ts";
import { type Grant, grantFor } from "../auth/grant.ts";
import type { Pod } from "../directory/directory.ts";
import type { Moving } from "../directory/moves.ts";
import type { Resolution } from "../directory/resolve.ts";
import { ok, type Result } from "../lib/result.ts";
import type { Access } from "../oci/scope.ts";
import type { Refusal } from "../refusal.ts";
import type { Services } from "../services.ts";

/**
 * Returns the other Pod of a move between two Pods of one registry, or null. In such a move all data stays where it is, and only the token service
 * changes.
 */
export async function otherOfRegistry(
  { pod, moving }: { readonly pod: Pod | null; readonly moving: Moving | null },
  { directory }: Pick<Services, "directory">,
): Promise<Pod | null> {
  const other = moving === null ? null : await directory.pod(moving.other);
  return other?.ok === true && other.value !== null && other.value.registry === pod?.registry ? other.value : null;
}

type Granted = { readonly resolution: Resolution; readonly grant: Grant };

/**
 * Returns the token's grant at the Pod that serves the name. During a move within one registry, a token of the other Pod is good too, and the request
 * then goes to that Pod. So a push goes on with a token that is older than the move.
 */
export async function grantWhileMoving(
  token: Token,
  { resolution, wanted }: { readonly resolution: Resolution; readonly wanted: Access },
  services: Services,
): Promise<Result<Granted, Refusal>> {
  const { pod, moving } = resolution;
  const grant = await grantFor(token, { pod, wanted }, services);
  const own: Result<Granted, Refusal> = grant.ok ? ok({ resolution, grant: grant.value }) : grant;
  // A grant of the edge itself opens only what the edge's caches hold, but a token of the other Pod opens all that the registry has. So if we have
  // only such a grant, or none, we look for a grant of the other Pod.
  if (grant.ok && grant.value.kind !== "edge") return own;
  const other = await otherOfRegistry(resolution, services);
  if (other === null || pod === null || moving === null) return own;
  const there = await grantFor(token, { pod: other, wanted }, services);
  if (!there.ok || (grant.ok && there.value.kind === "edge")) return own;
  return ok({ resolution: { ...resolution, pod: other, moving: { ...moving, other: pod.id } }, grant: there.value });
}
