import { isText } from "../lib/json.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { parseRepositoryName, type RepositoryName } from "../oci/repository-name.ts";
import { openAtGateway, type Sealing, sealForGateway } from "./gateway-seal.ts";

/** The parameter of a push location on a Pod's gateway. It contains all that the gateway needs to continue the upload. */
export const grantParameter = "_grant";

/** Allows the holder of a push location to continue this one upload, and nothing else. */
export type UploadGrant = {
  readonly pod: string;
  readonly repository: RepositoryName;
  readonly upload: string;
  /** The query of the registry's own push location, as the registry wrote it. */
  readonly query: string;
  /** The token that the gateway shows to the registry. Null if the Pods ask for no tokens. */
  readonly token: string | null;
  /**
   * The gateway puts this pin into each location that leads the client back to the edge, where the pin keeps the upload at its Pod. Only the edge has
   * the key to make a pin. A pin does not depend on the registry's state in the query, so one pin is good for every request of the upload.
   */
  readonly pin: string;
  /**
   * The origin under which the client called the edge. The gateway sends the client back to this origin, because the client has credentials for no
   * other.
   */
  readonly edge: string;
  /** The registry's origin as the edge knows it. A registry may write this origin into its `Location`. */
  readonly registry: string;
};

/** A client usually continues within seconds. But a client that pushes many large layers at once may let some of them wait for hours. */
const lifeSeconds = 24 * 3600;
const kind = "upload-grant";

export const sealGrant = (grant: UploadGrant, sealing: Sealing): Promise<string> =>
  sealForGateway(grant, lifeSeconds, { kind, ...sealing });

/** The error is for the log and says what is wrong with the grant. */
export async function openGrant(text: string, sealing: Sealing): Promise<Result<UploadGrant, string>> {
  const claims = await openAtGateway(text, { kind, ...sealing });
  if (!claims.ok) return claims;
  const { pod, repository, upload, query, token, pin, edge, registry } = claims.value;
  const name = parseRepositoryName(isText(repository) ? repository : "");
  const isWhole = isText(pod) && isText(upload) && isText(query) && isText(pin) && isText(edge) && isText(registry);
  if (!isWhole || !name.ok || !(token === null || isText(token))) return err(`the ${kind} lacks a member`);
  return ok({ pod, repository: name.value, upload, query, token, pin, edge, registry });
}
