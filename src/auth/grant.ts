import type { Directory, DirectoryFailure, Pod } from "../directory/directory.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { ChallengeError } from "../oci/challenge.ts";
import { type Access, covers } from "../oci/scope.ts";
import { parseToken, type Token, type TokenPart } from "./bundle.ts";
import { keyId, type Verdict, verifyToken } from "./verify.ts";

/**
 * What a request may do at one Pod, and what that Pod is sent as its token.
 * `undecided`: the directory does not know the token's key, so the Pod judges and the edge proves nothing by it.
 */
export type Grant =
  | { readonly kind: "granted"; readonly jwt: string }
  | { readonly kind: "undecided"; readonly jwt: string }
  | { readonly kind: "open" };

/** What the Pod is sent as the client's token; null where it asks for none. */
export const jwtOf = (grant: Grant): string | null => (grant.kind === "open" ? null : grant.jwt);

export type Refusal =
  | {
      readonly reason: "unauthorized";
      readonly error: ChallengeError | null;
      readonly text?: string;
      /** Another Pod has allowed it: its token may have been asked for by a newer directory. */
      readonly allowedElsewhere?: true;
    }
  | { readonly reason: "name-unknown" }
  | DirectoryFailure;

/** The Bearer token of a request; any other kind of credentials counts as none (RFC 6750 §2.1). */
export function readToken(authorization: string | null): Result<Token, Refusal> {
  const [scheme = "", value = "", ...rest] = (authorization ?? "").split(" ");
  const isNone = scheme.toLowerCase() !== "bearer" || (value === "" && rest.length === 0);
  if (isNone) return err({ reason: "unauthorized", error: null });
  const token = rest.length === 0 ? parseToken(value) : err("malformed");
  return token.ok ? token : err({ reason: "unauthorized", error: "invalid_token" });
}

/** The token's parts, each with its Pod; a bare JWT belongs to the Pod that the directory names for its `kid`. */
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
 * The grant for `wanted` at `pod`. Unassigned names (`pod` null) and names that the token says nothing of are answered alike,
 * so that nobody learns which prefixes exist; only a token that names the repository hears that it is unknown.
 */
export async function grantFor(
  token: Token,
  pod: Pod | null,
  wanted: Access,
  directory: Directory,
  now: Date,
): Promise<Result<Grant, Refusal>> {
  const parts = await partsOf(token, directory);
  if (!parts.ok) return parts;
  const own = pod === null ? undefined : parts.value.find((part) => part.pod === pod.id);
  if (pod !== null && own !== undefined) {
    const verdict = await judge(own.jwt, pod, directory, now);
    if (!verdict.ok) return verdict;
    if (verdict.value.kind === "invalid") return err({ reason: "unauthorized", error: "invalid_token" });
    if (verdict.value.kind === "unknown-key") return ok({ kind: "undecided", jwt: own.jwt });
    if (covers(verdict.value.access, wanted)) return ok({ kind: "granted", jwt: own.jwt });
  }
  const verified = await verifiedParts(parts.value, directory, now);
  if (!verified.ok) return verified;
  const allowedElsewhere = covers(verified.value.flat(), wanted);
  if (pod === null && allowedElsewhere) return err({ reason: "name-unknown" });
  // Only a bundle can lack a part; a bare JWT of another Pod is none of this Pod's tokens.
  const lacks = token.kind === "bundle" || own !== undefined;
  // One part that does not verify spoils the others too: else a made-up part would tell its Pod's names from free ones.
  const isGood = lacks && verified.value.length === parts.value.length;
  const error = isGood ? "insufficient_scope" : "invalid_token";
  return err({ reason: "unauthorized", error, ...(allowedElsewhere ? { allowedElsewhere } : {}) });
}

/** As `verifyToken`, but a key that the directory knows as another Pod's is nothing for this Pod to judge, nor to see. */
async function judge(
  jwt: string,
  pod: Pod,
  directory: Directory,
  now: Date,
): Promise<Result<Verdict, DirectoryFailure>> {
  const verdict = await verifyToken(jwt, pod, now);
  if (verdict.kind !== "unknown-key" || verdict.kid === null) return ok(verdict);
  const owner = await directory.podOfKey(verdict.kid);
  if (!owner.ok) return owner;
  return ok(owner.value === null || owner.value === pod.id ? verdict : { kind: "invalid" });
}

/** What each part that verifies allows. */
async function verifiedParts(
  parts: readonly TokenPart[],
  directory: Directory,
  now: Date,
): Promise<Result<readonly (readonly Access[])[], DirectoryFailure>> {
  const verified: (readonly Access[])[] = [];
  for (const part of parts) {
    const pod = await directory.claimedPod(part.pod);
    if (!pod.ok) return pod;
    const verdict = pod.value === null ? null : await verifyToken(part.jwt, pod.value, now);
    if (verdict?.kind === "verified") verified.push(verdict.access);
  }
  return ok(verified);
}

/**
 * Who answers a request that names no repository (`/v2/`, the catalog): the edge, if a part verifies; a Pod, if its key is unknown here.
 */
export async function identify(
  token: Token,
  directory: Directory,
  now: Date,
): Promise<Result<{ grant: Grant; pod: Pod }, Refusal>> {
  const parts = await partsOf(token, directory);
  if (!parts.ok) return parts;
  let undecided: { grant: Grant; pod: Pod } | null = null;
  for (const { pod: id, jwt } of parts.value) {
    const pod = await directory.claimedPod(id);
    if (!pod.ok) return pod;
    if (pod.value === null) continue;
    const verdict = await judge(jwt, pod.value, directory, now);
    if (!verdict.ok) return verdict;
    if (verdict.value.kind === "verified") return ok({ grant: { kind: "granted", jwt }, pod: pod.value });
    if (verdict.value.kind === "unknown-key") undecided ??= { grant: { kind: "undecided", jwt }, pod: pod.value };
  }
  return undecided === null ? err({ reason: "unauthorized", error: "invalid_token" }) : ok(undecided);
}
