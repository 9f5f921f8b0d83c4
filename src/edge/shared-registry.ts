import { isOnlyOfRegistry, type Pod } from "../directory/directory.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { RegistryEndpoint } from "../oci/endpoint.ts";
import { readParameters } from "../oci/query.ts";
import type { Refusal } from "../refusal.ts";
import type { Services } from "../services.ts";

/**
 * Some requests of GitLab's API, such as a rename, act on more repositories than their URL names. If several Pods have one registry, such a request
 * could also reach the other Pods' repositories, so the edge refuses it.
 */
export async function refuseBeyondName(
  endpoint: RegistryEndpoint,
  pod: Pod,
  { directory }: Pick<Services, "directory">,
): Promise<Result<null, Refusal>> {
  if (!reachesBeyondName(endpoint)) return ok(null);
  const record = await directory.record();
  if (!record.ok) return record;
  if (isOnlyOfRegistry(record.value, pod.id)) return ok(null);
  const message =
    "this request may concern repositories of other registries behind this hostname; ask the operator to send it to the registry itself";
  return err({ reason: "refused", error: { code: "DENIED", message } });
}

function reachesBeyondName(endpoint: RegistryEndpoint): boolean {
  switch (endpoint.kind) {
    case "gitlab-descendants":
    case "gitlab-statistics":
      return true;
    case "gitlab-repository":
      // A PATCH also renames the repositories below the name, and a GET with a `size` other than `self` counts them.
      return (
        endpoint.method === "PATCH" ||
        readParameters(endpoint.query).some(({ name, value }) => name === "size" && value !== "self")
      );
    default:
      return false;
  }
}
