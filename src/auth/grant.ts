import type { Directory, Pod } from "../directory/directory.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { type Access, covers } from "../oci/scope.ts";
import type { DirectoryFailure, Refusal, Unauthorized } from "../refusal.ts";
import { parseToken, type Token, type TokenPart } from "./bundle.ts";
import { keyId, type Verdict, type VerifyPorts, verifyToken } from "./verify.ts";

/**
 * What a request may do at one Pod, and which token this Pod gets. `granted`: the edge has verified the token, which allows `access`. `undecided`: the
 * directory does not know the token's key, so the Pod decides, and the edge records no proofs and signs no URLs for the token. `open`: this fleet asks for
 * no tokens.
 */
export type Grant =
  | { readonly kind: "granted"; readonly jwt: string; readonly access: readonly Access[] }
  | { readonly kind: "undecided"; readonly jwt: string }
  | { readonly kind: "open" };

/** The token that the Pod gets. Null if this fleet asks for no tokens. */
export const jwtOf = (grant: Grant): string | null => (grant.kind === "open" ? null : grant.jwt);

export type GrantPorts = VerifyPorts & { readonly directory: Directory };

/** The Bearer token of a request. Any other kind of credentials counts as no token (RFC 6750 §2.1). */
export function readToken(authorization: string | null): Result<Token, Unauthorized> {
  const [scheme = "", value = "", ...rest] = (authorization ?? "").split(" ");
  const isAbsent = scheme.toLowerCase() !== "bearer" || (value === "" && rest.length === 0);
  if (isAbsent) return err({ reason: "unauthorized", error: null });
  const token = rest.length === 0 ? parseToken(value) : err("malformed");
  return token.ok ? token : invalidToken;
}

const invalidToken = err<Unauthorized>({ reason: "unauthorized", error: "invalid_token" });

/** The token's parts, each with its Pod. A bare JWT belongs to the Pod that the directory names for its `kid`. */
export async function partsOf(
  token: Token,
  directory: Directory,
): Promise<Result<readonly TokenPart[], DirectoryFailure>> {
  if (token.kind === "bundle") return ok(token.parts);
  const kid = keyId(token.jwt);
  const pod = kid.ok && kid.value !== null ? await directory.podOfKey(kid.value) : ok(null);
  if (!pod.ok) return pod;
  return ok(pod.value === null ? [] : [{ pod: pod.value, jwt: token.jwt }]);
}

/**
 * Returns the grant for `wanted` at `pod`. A name without a Pod (`pod` null) and a name that the token does not cover get the same answer, so that a
 * stranger does not learn which prefixes exist. Only a token that allows access to the repository gets the answer that its name is unknown.
 */
export async function grantFor(
  token: Token,
  { pod, wanted }: { readonly pod: Pod | null; readonly wanted: Access },
  ports: GrantPorts,
): Promise<Result<Grant, Refusal>> {
  const parts = await partsOf(token, ports.directory);
  if (!parts.ok) return parts;
  const own = pod === null ? undefined : parts.value.find((part) => part.pod === pod.id);
  if (pod !== null && own !== undefined) {
    const verdict = await judge(own.jwt, pod, ports);
    if (!verdict.ok) return verdict;
    if (verdict.value.kind === "invalid") return invalidToken;
    if (verdict.value.kind === "unknown-key") return ok({ kind: "undecided", jwt: own.jwt });
    if (covers(verdict.value.access, wanted)) {
      return ok({ kind: "granted", jwt: own.jwt, access: verdict.value.access });
    }
  }
  const verified = await verifiedParts(parts.value, ports);
  if (!verified.ok) return verified;
  const allowedElsewhere = covers(verified.value.flat(), wanted);
  if (pod === null && allowedElsewhere) return err({ reason: "name-unknown" });
  // Only a bundle can lack a part; a bare JWT of another Pod is not a token of this Pod.
  const lacksRight = token.kind === "bundle" || own !== undefined;
  // One part that does not verify makes the whole token invalid. Otherwise a made-up part would show which names its Pod has and which are free.
  const isGood = lacksRight && verified.value.length === parts.value.length;
  const error = isGood ? "insufficient_scope" : "invalid_token";
  return err({ reason: "unauthorized", error, ...(allowedElsewhere ? { allowedElsewhere } : {}) });
}

/** Whether any part of the token verifies and allows `wanted`, whichever Pod issued it. If so, a known user asks and not a stranger. */
export async function isAllowedAnywhere(token: Token, wanted: Access, ports: GrantPorts): Promise<boolean> {
  const parts = await partsOf(token, ports.directory);
  const verified = parts.ok ? await verifiedParts(parts.value, ports) : parts;
  return verified.ok && covers(verified.value.flat(), wanted);
}

/** Does the same as `verifyToken`, but the token is also invalid if the directory knows its key as another Pod's. So this Pod never gets that token. */
async function judge(jwt: string, pod: Pod, ports: GrantPorts): Promise<Result<Verdict, DirectoryFailure>> {
  const verdict = await verifyToken(jwt, pod, ports);
  if (verdict.kind !== "unknown-key" || verdict.kid === null) return ok(verdict);
  const owner = await ports.directory.podOfKey(verdict.kid);
  if (!owner.ok) return owner;
  return ok(owner.value === null || owner.value === pod.id ? verdict : { kind: "invalid" });
}

/** Returns the access that each verified part allows. */
async function verifiedParts(
  parts: readonly TokenPart[],
  ports: GrantPorts,
): Promise<Result<readonly (readonly Access[])[], DirectoryFailure>> {
  const verified: (readonly Access[])[] = [];
  for (const part of parts) {
    const pod = await ports.directory.claimedPod(part.pod);
    if (!pod.ok) return pod;
    const verdict = pod.value === null ? null : await verifyToken(part.jwt, pod.value, ports);
    if (verdict?.kind === "verified") verified.push(verdict.access);
  }
  return ok(verified);
}

/** Chooses the Pod for a request without a repository: the Pod of a part that verifies, otherwise the Pod of a part whose key is unknown here. */
export async function identify(token: Token, ports: GrantPorts): Promise<Result<{ grant: Grant; pod: Pod }, Refusal>> {
  const parts = await partsOf(token, ports.directory);
  if (!parts.ok) return parts;
  let undecided: { grant: Grant; pod: Pod } | null = null;
  for (const { pod: id, jwt } of parts.value) {
    const pod = await ports.directory.claimedPod(id);
    if (!pod.ok) return pod;
    if (pod.value === null) continue;
    const verdict = await judge(jwt, pod.value, ports);
    if (!verdict.ok) return verdict;
    if (verdict.value.kind === "verified") {
      return ok({ grant: { kind: "granted", jwt, access: verdict.value.access }, pod: pod.value });
    }
    if (verdict.value.kind === "unknown-key") undecided ??= { grant: { kind: "undecided", jwt }, pod: pod.value };
  }
  return undecided === null ? invalidToken : ok(undecided);
}
