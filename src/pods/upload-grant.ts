import { err, ok, type Result } from "../lib/result.ts";
import { parseRepositoryName, type RepositoryName } from "../oci/repository-name.ts";
import type { GatewayKeys } from "./gateway-keys.ts";
import { openAtGateway, sealForGateway } from "./gateway-seal.ts";

/** The parameter of a push location on a Pod's gateway. The gateway needs nothing else to go on with the upload. */
export const grantParameter = "_grant";

/** Allows the holder of a push location to go on with this one upload, and nothing else. */
export type UploadGrant = {
  readonly pod: string;
  readonly repository: RepositoryName;
  readonly upload: string;
  /** The query of the registry's own push location, as the registry wrote it. */
  readonly query: string;
  /** The token that the registry gets from the gateway. Null if this fleet asks for no tokens. */
  readonly token: string | null;
  /**
   * When the client comes back to the edge, this pin keeps the rest of the upload at its Pod. The edge makes the pin, because only the edge has the
   * key. One pin is good for all later locations of the upload: the registry's state changes with each request, but the pin does not cover this
   * state.
   */
  readonly pin: string;
  /** The origin under which the client called the edge. The client is sent back there, because it has credentials only for this origin. */
  readonly edge: string;
  /** The registry's origin as the edge knows it. A registry may write this origin into its `Location`. */
  readonly registry: string;
};

/** A client usually goes on within seconds, but a client that pushes many large layers at once may let some layers wait. */
const lifeSeconds = 24 * 3600;
const kind = "upload-grant";

type Sealing = { readonly keys: GatewayKeys; readonly now: Date };

export const sealGrant = (grant: UploadGrant, sealing: Sealing): Promise<string> =>
  sealForGateway(grant, lifeSeconds, { kind, ...sealing });

/** Opens a grant. The error is for the log and says why the grant is not good. */
export async function openGrant(text: string, sealing: Sealing): Promise<Result<UploadGrant, string>> {
  const claims = await openAtGateway(text, { kind, ...sealing });
  if (!claims.ok) return claims;
  const { pod, repository, upload, query, token, pin, edge, registry } = claims.value;
  const name = parseRepositoryName(isText(repository) ? repository : "");
  const isWhole = isText(pod) && isText(upload) && isText(query) && isText(pin) && isText(edge) && isText(registry);
  if (!isWhole || !name.ok || !(token === null || isText(token))) return err(`the ${kind} lacks a member`);
  return ok({ pod, repository: name.value, upload, query, token, pin, edge, registry });
}

const isText = (value: unknown): value is string => typeof value === "string";
