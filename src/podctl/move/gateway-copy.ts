/** Copies blobs from Pod to Pod by the target's gateway, so that their bytes do not pass through podctl. */
import type { Digest } from "../../oci/digest.ts";
import type { RepositoryName } from "../../oci/repository-name.ts";
import { formatScope } from "../../oci/scope.ts";
import { mountLimits } from "../../pods/mount-order.ts";
import { basic, bearer, call, tokenIn } from "../http-call.ts";
import type { User } from "../target/operator.ts";
import { hasBlob } from "./lists.ts";
import type { Registry } from "./registry.ts";
import { deleteScope } from "./scopes.ts";

/** Lets the gateway copy a blob. Returns true only if the target has the blob afterwards. Otherwise podctl must copy the blob itself. */
export type GatewayCopy = (name: RepositoryName, digest: Digest) => Promise<boolean>;

/** podctl itself copies the blobs that are smaller than this, because a copy by the gateway needs more requests. */
export const minGatewayBytes = 256 * 1024;
/**
 * If the gateway has not copied a blob, podctl copies blobs itself for this long, and then tries the gateway again. For example, the edge may not
 * know of the move yet, and orders no copy.
 */
const pauseMs = 30_000;
/** How long we wait for the edge's answer: the gateway's time for the copy, its time for the clean-up, and ten seconds for the network. */
const orderMs = mountLimits.copyMs + mountLimits.cleanUpMs + 10_000;

type EdgeLogin = { readonly origin: string; readonly user: User | null; readonly auth: "token" | "none" };

/** Returns a function that asks the edge for the copy of one blob, because only the edge has the gateway's key. Null if the target has no gateway. */
export function openGatewayCopy(edge: EdgeLogin, target: Registry): GatewayCopy | null {
  if (!target.pod.gateway) return null;
  let pausedUntilMs = 0;
  return async (name, digest) => {
    if (Date.now() < pausedUntilMs) return false;
    // An edge that does not know of the move yet forwards the mount to the source, which has the blob and answers 201. So a 201 proves nothing about
    // the target, and we ask the target whether it has the blob.
    const isCopied = (await mountFromItself(edge, name, digest)) && (await hasBlob(target, name, digest));
    if (!isCopied) pausedUntilMs = Date.now() + pauseMs;
    return isCopied;
  };
}

/**
 * While a group is being moved, a client can ask for a mount from a repository to this same repository. The edge then lets the gateway copy the blob
 * to the Pod that the group moves to (src/edge/mount-across.ts).
 */
async function mountFromItself(edge: EdgeLogin, name: RepositoryName, digest: Digest): Promise<boolean> {
  const token = edge.auth === "none" ? null : await fetchToken(edge, name);
  if (token === null && edge.auth !== "none") return false;
  const url = `${edge.origin}/v2/${name}/blobs/uploads/?mount=${digest}&from=${name}`;
  const answer = await call(url, { method: "POST", headers: bearer(token), deadlineMs: orderMs });
  if (!answer.ok) return false;
  const location = answer.value.headers.get("Location");
  // With 202, the blob is not copied: a Pod has begun an upload instead, which we cancel. If the upload is not at the edge, we send no token, because
  // only the edge may get the token.
  if (answer.value.status === 202 && location !== null) {
    const upload = new URL(location, edge.origin);
    const isOfEdge = upload.origin === new URL(edge.origin).origin;
    await call(upload, { method: "DELETE", headers: isOfEdge ? bearer(token) : {} });
  }
  return answer.value.status === 201;
}

/** Returns a token for both Pods. Null if the edge gives none, for example because the Pods have different users. */
async function fetchToken({ origin, user }: EdgeLogin, name: RepositoryName): Promise<string | null> {
  const url = new URL("/jwt/auth", origin);
  // The gateway needs the right to delete, so that it can cancel an upload that fails.
  url.searchParams.set("scope", formatScope(deleteScope(name)));
  const answer = await call(url, { headers: basic(user) });
  return answer.ok ? tokenIn(answer.value) : null;
}
