import type { Pod } from "../directory/directory.ts";
import type { EdgeKeys } from "../lib/derive-key.ts";
import type { RepositoryEndpoint } from "../oci/endpoint.ts";
import { withoutParameters, withParameters } from "../oci/query.ts";
import type { GatewayKeys } from "./gateway-keys.ts";
import { grantParameter, sealGrant } from "./upload-grant.ts";
import { pinParameter, sealPin } from "./upload-pin.ts";
import { sizeParameter } from "./upload-size.ts";

/**
 * Only the edge or a gateway reads these parameters, so the edge removes them before it asks a Pod. A grant is meant for the gateway. But some
 * clients take a location apart and build a new URL, so the grant may come to the edge.
 */
export const ownParameters = [pinParameter, sizeParameter, grantParameter];

/** The Pod's gateway to which this client is sent. */
export type PushGateway = {
  readonly url: string;
  readonly keys: GatewayKeys;
  /** The token that the registry gets from the gateway. Null if this fleet asks for no tokens. */
  readonly token: string | null;
};

type PushContext = {
  readonly pod: Pod;
  readonly edgeOrigin: string;
  readonly edgeKeys: EdgeKeys;
  readonly now: Date;
  /** How many bytes the Pod has of the upload. Null if the Pod does not say. */
  readonly uploadedBytes: number | null;
  readonly gateway: PushGateway | null;
};

type UploadTarget = {
  readonly path: string;
  readonly query: string;
  readonly endpoint: Extract<RepositoryEndpoint, { readonly kind: "upload" }>;
};

/** By default, nginx takes request lines of up to 8 KB. A location with a grant of this length, its path and a digest fits. */
const MAX_GRANT_CHARACTERS = 7_000;

/**
 * Returns the location where the client goes on with an upload. On the edge, a pin keeps the upload at its Pod. At the Pod's gateway, a grant allows
 * the upload. If the grant would be too long, the upload stays on the edge.
 */
export async function pushLocation({ path, query, endpoint }: UploadTarget, context: PushContext): Promise<string> {
  const { pod, edgeOrigin, uploadedBytes, gateway, now } = context;
  const { name: repository, upload } = endpoint;
  const state = withoutParameters(query, ownParameters);
  const pin = await sealPin(pod.id, { repository, upload }, context);
  const size = uploadedBytes === null ? {} : { [sizeParameter]: String(uploadedBytes) };
  const onEdge = `${path}?${withParameters(state, { [pinParameter]: pin, ...size })}`;
  if (gateway === null) return onEdge;
  const { url, keys, token } = gateway;
  const claims = {
    pod: pod.id,
    repository,
    upload,
    query: state,
    token,
    pin,
    edge: edgeOrigin,
    registry: pod.registry,
  };
  const grant = await sealGrant(claims, { keys, now });
  return grant.length > MAX_GRANT_CHARACTERS ? onEdge : `${url}${path}?${grantParameter}=${grant}`;
}
