import type { Pod } from "../directory/directory.ts";
import type { EdgeKeys } from "../lib/derive-key.ts";
import type { RepositoryEndpoint } from "../oci/endpoint.ts";
import { withoutParameters, withParameters } from "../oci/query.ts";
import type { GatewayKeys } from "./gateway-keys.ts";
import { grantParameter, sealGrant } from "./upload-grant.ts";
import { pinParameter, sealPin } from "./upload-pin.ts";
import { sizeParameter } from "./upload-size.ts";

/**
 * These parameters are for the edge or a gateway, and a Pod must not get them. Some clients send even a gateway's grant to the edge, because they
 * build a URL of the edge from the parts of a location.
 */
export const ownParameters = [pinParameter, sizeParameter, grantParameter];

export type PushGateway = {
  readonly url: string;
  readonly keys: GatewayKeys;
  /** The token that the gateway shows to the registry. Null if the Pods ask for no tokens. */
  readonly token: string | null;
};

type PushContext = {
  readonly pod: Pod;
  readonly edgeOrigin: string;
  readonly edgeKeys: EdgeKeys;
  readonly now: Date;
  /** Null if the Pod does not say how many bytes of the upload it has. */
  readonly uploadedBytes: number | null;
  readonly gateway: PushGateway | null;
};

type UploadTarget = {
  readonly path: string;
  readonly query: string;
  readonly endpoint: Extract<RepositoryEndpoint, { readonly kind: "upload" }>;
};

/** By default, nginx takes request lines of up to 8 KB. A line with a grant of this length, the path and a digest fits. */
const MAX_GRANT_CHARACTERS = 7_000;

/**
 * Returns the location where the client continues an upload: on the edge with a pin, or at the Pod's gateway with a grant. If the grant is too long
 * for a URL, the upload stays on the edge.
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
