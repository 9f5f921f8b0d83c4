import { jwtOf } from "../auth/grant.ts";
import type { Pod } from "../directory/directory.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { RegistryEndpoint } from "../oci/endpoint.ts";
import { type GatewayKeys, parseGatewayKeys } from "../pods/gateway-keys.ts";
import type { PushGateway } from "../pods/push-location.ts";
import { travelOf } from "../pods/upload-clients.ts";
import type { Misconfigured } from "../refusal.ts";
import type { Services } from "../services.ts";
import type { Authorized, Context } from "./authorize.ts";

/** Returns the Pod's gateway if a new upload goes on there. Null if the upload stays on the edge. */
export async function chooseGateway(
  endpoint: RegistryEndpoint,
  { request, services }: Context,
  { pod, grant, assignment }: Authorized,
): Promise<Result<PushGateway | null, Misconfigured>> {
  const { gateway } = pod;
  if (endpoint.kind !== "upload-start" || !gateway || assignment?.uploads === "edge") return ok(null);
  const travel = travelOf(request.headers.get("User-Agent"));
  // A client that gives other hosts its credentials is sent only to a gateway that the edge's operator runs. A hostile Pod's gateway could answer 401
  // and name another Pod's repository. The client would then bring a token for that repository (containers/image), or its password (Jib).
  if (travel === "stays" || (travel === "goes-with-credentials" && gateway.operator === "pod")) return ok(null);
  const keys = await gatewayKeys(pod.id, gateway, services);
  return keys.ok ? ok({ url: gateway.url, keys: keys.value, token: jwtOf(grant) }) : keys;
}

export async function gatewayKeys(
  pod: string,
  { url, key }: NonNullable<Pod["gateway"]>,
  { openSecret }: Pick<Services, "openSecret">,
): Promise<Result<GatewayKeys, Misconfigured>> {
  const secret = await openSecret(key, { pod, field: "gateway.key", scheme: "gateway", target: url });
  if (!secret.ok) return secret;
  const keys = parseGatewayKeys(secret.value);
  return keys.ok ? keys : err({ reason: "misconfigured", text: `"gateway.key" of Pod "${pod}" ${keys.error}` });
}
