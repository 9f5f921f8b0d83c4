import { grantFor, type PodGrant, withoutSubject } from "../auth/grant.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { RepositoryEndpoint } from "../oci/endpoint.ts";
import { requiredAccess } from "../oci/scope.ts";
import { type AdmittedPod, passPod } from "../pods/gate.ts";
import type { Refusal } from "../refusal.ts";
import type { Authorized, Context } from "./authorize.ts";

/** Returns what the client may do at the other Pod of the group's move, as if that Pod served the group. */
export async function authorizeThere(
  endpoint: RepositoryEndpoint,
  context: Context,
  authorized: Authorized,
): Promise<Result<Authorized, Refusal>> {
  const other = authorized.moving?.other;
  const pod = other === undefined ? ok(null) : await context.services.directory.pod(other);
  if (!pod.ok) return pod;
  const admitted = passPod(endpoint.method, pod.value);
  if (!admitted.ok) return admitted;
  const grant = await grantThere(endpoint, context, admitted.value);
  return grant.ok ? ok({ ...authorized, pod: admitted.value, grant: grant.value, moving: null }) : grant;
}

async function grantThere(
  endpoint: RepositoryEndpoint,
  { token, services }: Context,
  pod: AdmittedPod,
): Promise<Result<PodGrant, Refusal>> {
  if (token === null) return ok({ kind: "open" });
  const grant = await grantFor(token, { pod, wanted: requiredAccess(endpoint).own }, withoutSubject(services));
  if (!grant.ok) return grant;
  const { value } = grant;
  // A grant that the edge itself gave is refused, because a Pod cannot read it.
  return value.kind === "edge" ? err({ reason: "unauthorized", error: "insufficient_scope" }) : ok(value);
}
