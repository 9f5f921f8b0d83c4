import type { Token } from "../auth/bundle.ts";
import { jwtOf } from "../auth/grant.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { RegistryEndpoint } from "../oci/endpoint.ts";
import { parseGatewayKeys } from "../pods/gateway-keys.ts";
import type { PushGateway } from "../pods/push-location.ts";
import { travelOf } from "../pods/upload-clients.ts";
import type { Misconfigured } from "../refusal.ts";
import type { Authorized, Context } from "./authorize.ts";

/**
 * Returns the Pod's gateway if a new upload goes on there. Null if the upload stays on the edge. An upload stays if the Pod has no gateway, if the group's
 * uploads stay on the edge, if the client refuses to go to another host, or if the client would take another Pod's token there.
 */
export async function chooseGateway(
  endpoint: RegistryEndpoint,
  { request, services, token }: Context,
  { pod, grant, assignment }: Authorized,
): Promise<Result<PushGateway | null, Misconfigured>> {
  const { gateway } = pod;
  if (endpoint.kind !== "upload-start" || !gateway || assignment?.uploads === "edge") return ok(null);
  const travel = travelOf(request.headers.get("User-Agent"));
  if (travel === "stays" || (travel === "goes-with-token" && hasSeveralParts(token))) return ok(null);
  const { url, key } = gateway;
  const place = { pod: pod.id, field: "gateway.key", scheme: "gateway", target: url };
  const secret = await services.openSecret(key, place);
  if (!secret.ok) return secret;
  const keys = parseGatewayKeys(secret.value);
  if (!keys.ok) return err({ reason: "misconfigured", text: `"gateway.key" of Pod "${pod.id}" ${keys.error}` });
  return ok({ url, keys: keys.value, token: jwtOf(grant) });
}

const hasSeveralParts = (token: Token | null): boolean => token?.kind === "bundle" && token.parts.length > 1;
