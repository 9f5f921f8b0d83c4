import { isText } from "../lib/json.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { type Digest, parseDigest } from "../oci/digest.ts";
import { parseRepositoryName, type RepositoryName } from "../oci/repository-name.ts";
import { openAtGateway, type Sealing, sealForGateway } from "./gateway-seal.ts";

/** The bounds of a mount across Pods. If a blob exceeds them, the client uploads it. */
export const mountLimits = {
  maxBytes: 2 * 1024 ** 3,
  /** A copy is given up if it is not complete this long after the client's request. */
  copyMs: 60_000,
  /** How long the gateway may take after `copyMs` to remove an upload that it has begun. */
  cleanUpMs: 5_000,
} as const;

/** This is enough for an order with the longest token that the edge takes, 32 KB. */
export const MAX_ORDER_CHARACTERS = 96 * 1024;

/** The edge's order to a Pod's gateway to copy one blob from another Pod's store into the gateway's registry. */
export type MountOrder = {
  readonly pod: string;
  /** The repository that gets the blob. */
  readonly repository: RepositoryName;
  readonly digest: Digest;
  /** The URL that the edge has signed for the blob in the other Pod's store. The gateway fetches no other URL. */
  readonly url: string;
  /** The client's token for the Pod of the gateway. Null if the Pods ask for no tokens. */
  readonly token: string | null;
  /** The origin under which the client called the edge. */
  readonly edge: string;
  /** The registry's origin as the edge knows it. A registry may write this origin into its `Location`. */
  readonly registry: string;
  readonly copyMs: number;
};

/** A gateway opens an order as soon as it arrives. Five minutes are allowed, because the clocks of edge and gateway may differ. */
const lifeSeconds = 300;
const kind = "mount-order";

export const sealOrder = (order: MountOrder, sealing: Sealing): Promise<string> =>
  sealForGateway(order, lifeSeconds, { kind, ...sealing });

/** The error says what is wrong with the order, and contains no secret. */
export async function openOrder(text: string, sealing: Sealing): Promise<Result<MountOrder, string>> {
  const claims = await openAtGateway(text, { kind, ...sealing });
  if (!claims.ok) return claims;
  const { pod, repository, digest, url, token, edge, registry, copyMs } = claims.value;
  const name = parseRepositoryName(isText(repository) ? repository : "");
  const parsed = parseDigest(isText(digest) ? digest : "");
  const isWhole = isText(pod) && isText(url) && isText(edge) && isText(registry) && typeof copyMs === "number";
  if (!isWhole || !name.ok || !parsed.ok || !(token === null || isText(token)))
    return err(`the ${kind} lacks a member`);
  return ok({ pod, repository: name.value, digest: parsed.value, url, token, edge, registry, copyMs });
}

/**
 * containerd ends a push if the registry sends no headers for 30 s (`ResponseHeaderTimeout`), so a copy for containerd must end earlier. docker with
 * the containerd store (`containerd-client/…`) and the BuildKit in docker use the same transport.
 */
const impatientMs = 20_000;

export const copyMsFor = (userAgent: string | null): number =>
  /\b(containerd|buildkit)\b/i.test(userAgent ?? "") ? impatientMs : mountLimits.copyMs;
