import { type Grant, grantFor, withoutSubject } from "../auth/grant.ts";
import { ok, type Result } from "../lib/result.ts";
import type { RepositoryEndpoint } from "../oci/endpoint.ts";
import { requiredAccess } from "../oci/scope.ts";
import { passPod } from "../pods/gate.ts";
import type { Refusal } from "../refusal.ts";
import type { Authorized, Context } from "./authorize.ts";

/** Returns what the client may do at the other Pod of the group's move, as if that Pod served the group. */
export async function authorizeThere(
  endpoint: RepositoryEndpoint,
  { token, services }: Context,
  authorized: Authorized,
): Promise<Result<Authorized<Grant>, Refusal>> {
  const other = authorized.moving?.other;
  const found = other === undefined ? ok(null) : await services.directory.pod(other);
  if (!found.ok) return found;
  const admitted = passPod(endpoint.method, found.value);
  if (!admitted.ok) return admitted;
  const there = { ...authorized, pod: admitted.value, moving: null };
  if (token === null) return ok({ ...there, grant: { kind: "open" } });
  const asked = { pod: there.pod, wanted: requiredAccess(endpoint).own };
  const grant = await grantFor(token, asked, withoutSubject(services));
  return grant.ok ? ok({ ...there, grant: grant.value }) : grant;
}
