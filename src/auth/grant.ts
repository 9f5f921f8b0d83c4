import { type Directory, isOnlyOfRegistry, type Pod } from "../directory/directory.ts";
import type { Issuers, User } from "../directory/kv-cache.ts";
import type { PodId } from "../directory/pod-id.ts";
import type { EdgeKeys } from "../lib/derive-key.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { type Access, covers } from "../oci/scope.ts";
import type { DirectoryFailure, Refusal, Unauthorized } from "../refusal.ts";
import type { Trace } from "../telemetry/log-line.ts";
import { type EdgePart, parseToken, type Token, type TokenPart } from "./bundle.ts";
import { openEdgeGrant } from "./edge-grant.ts";
import { isRejected, keyId, reject, subjectOf, type VerifyPorts, verifyToken } from "./verify.ts";

/**
 * What a request may do at one Pod.
 * - `granted`: the edge has verified the token, which allows `access`.
 * - `undecided`: the directory does not know the token's key, so only the Pod can check the token. The edge records no proofs and signs no URLs by
 *   such a token.
 * - `open`: this deployment works without tokens (`AUTH=none`).
 * - `edge`: the edge itself gave the grant while the Pod's token service failed. It allows only what the edge has in its caches, because there is no
 *   token that could be sent to the Pod.
 */
export type Grant = PodGrant | { readonly kind: "edge"; readonly access: readonly Access[] };

/** A grant with which the edge may call the Pod: any kind except `edge`. */
export type PodGrant =
  | { readonly kind: "granted"; readonly jwt: string; readonly access: readonly Access[] }
  | { readonly kind: "undecided"; readonly jwt: string }
  | { readonly kind: "open" };

export const jwtOf = (grant: PodGrant): string | null => (grant.kind === "open" ? null : grant.jwt);

/** Returns the user to whom the Pod gave the grant's token. A Pod's tokens that have no subject all count as tokens of one user. */
export const userOf = ({ id }: Pod, grant: PodGrant): User => ({ pod: id, user: subjectOf(jwtOf(grant) ?? "") ?? "" });

/**
 * Whether this is a HEAD by a client that may push to the repository. Clients do not push what such a HEAD finds. So only the Pod that gets the push
 * may answer it.
 */
export const precedesPush = (
  { method, name }: { readonly method: string; readonly name: string },
  grant: Grant,
): boolean =>
  method === "HEAD" &&
  grant.kind === "granted" &&
  covers(grant.access, { type: "repository", name, actions: ["push"] });

type GrantPorts = VerifyPorts & {
  readonly directory: Directory;
  readonly config: { readonly edgeKeys: EdgeKeys };
  readonly trace: Pick<Trace, "subject">;
};

/** Returns ports for a request's second grant, for example for the source of a mount. The log line keeps the subject of the first grant. */
export const withoutSubject = <P extends GrantPorts>(ports: P): P => ({ ...ports, trace: {} });

/** The Bearer token of a request. Any other kind of credentials counts as no token (RFC 6750 §2.1). */
export function readToken(authorization: string | null): Result<Token, Unauthorized> {
  const [scheme = "", value = "", ...rest] = (authorization ?? "").split(" ");
  const isAbsent = scheme.toLowerCase() !== "bearer" || (value === "" && rest.length === 0);
  if (isAbsent) return err({ reason: "unauthorized", error: null });
  const token = rest.length === 0 ? parseToken(value) : err("malformed");
  return token.ok ? token : invalidToken;
}

export const invalidToken = err<Unauthorized>({ reason: "unauthorized", error: "invalid_token" });

/** Returns the token's parts, each with its Pod. A bare JWT belongs to the Pod that the directory names for its `kid`. */
export async function partsOf(
  token: Token,
  directory: Directory,
): Promise<Result<readonly TokenPart[], DirectoryFailure>> {
  if (token.kind === "bundle") return ok(token.parts);
  const kid = keyId(token.jwt);
  const pod = kid.ok && kid.value !== null ? await directory.podOfKey(kid.value) : ok(null);
  if (!pod.ok) return pod;
  return ok(pod.value === null ? [] : [{ kind: "pod", pod: pod.value, jwt: token.jwt }]);
}

/**
 * Returns the grant for `wanted` at `pod`, which is null if the name has no Pod. A token that allows `wanted` then gets `name-unknown`. A token that
 * does not gets the same error as if the name had a Pod without a part in the token. So a stranger does not learn which prefixes exist.
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
    const judged = await judge(own, pod, ports);
    if (!judged.ok) return judged;
    if (judged.value === "invalid") return invalidToken;
    if (judged.value.kind === "undecided" || covers(judged.value.access, wanted)) return ok(judged.value);
  }
  const verified = await verifiedParts(parts.value, ports);
  if (!verified.ok) return verified;
  const access = verified.value.flatMap((part) => part.access);
  const allowedElsewhere = covers(access, wanted);
  if (pod === null && allowedElsewhere) return err({ reason: "name-unknown" });
  // `insufficient_scope` says that the token is valid but does not allow the request. A bundle counts as valid for all names. A Pod's bare JWT is
  // valid only for the names of this Pod, and gets `invalid_token` for all others.
  const lacksRight = token.kind === "bundle" || own !== undefined;
  // If one part does not verify, the error is `invalid_token` for all names. Otherwise a stranger with a made-up part for a Pod could tell this Pod's
  // names from other names by the error.
  const isGood = lacksRight && verified.value.length === parts.value.length;
  const error = isGood ? "insufficient_scope" : "invalid_token";
  return err({ reason: "unauthorized", error, ...(allowedElsewhere ? { allowedElsewhere } : {}) });
}

/**
 * Returns the Pods whose part of the token verifies and allows `wanted`, or null if there is none. A hostile Pod can put any name into its tokens, so
 * the repository of `wanted` may belong to another Pod.
 */
export async function issuersOf(token: Token, wanted: Access, ports: GrantPorts): Promise<Issuers | null> {
  const parts = await partsOf(token, ports.directory);
  const verified = parts.ok ? await verifiedParts(parts.value, ports) : parts;
  const allowing = verified.ok ? verified.value.filter(({ access }) => covers(access, wanted)) : [];
  const [first, ...others] = allowing.map(({ pod }) => pod);
  return first === undefined ? null : { issuers: [first, ...others] };
}

type Judged = Exclude<Grant, { readonly kind: "open" }> | "invalid";

/**
 * Returns what a part of the token grants at `pod`, and notes the part's subject for the log. If the directory says that the part's key belongs to
 * another Pod, the part is invalid, and `pod` never gets it.
 */
async function judge(part: TokenPart, pod: Pod, ports: GrantPorts): Promise<Result<Judged, DirectoryFailure>> {
  if (part.kind === "edge") {
    const access = await openPart(part, pod, ports);
    return ok(access === null ? "invalid" : { kind: "edge", access });
  }
  const { jwt } = part;
  const verdict = await verifyToken(jwt, pod, ports);
  if (verdict.kind === "invalid") return ok("invalid");
  if (verdict.kind === "verified") {
    if (verdict.subject !== null) ports.trace.subject = verdict.subject;
    return ok({ kind: "granted", jwt, access: verdict.access });
  }
  const owner = verdict.kid === null ? ok(null) : await ports.directory.podOfKey(verdict.kid);
  if (!owner.ok) return owner;
  if (owner.value !== null && owner.value !== pod.id) return ok("invalid");
  // If several Pods share a registry, the registry trusts the keys of all their token services. Another Pod's service could then sign a token for
  // this Pod's names. So only a registry of one Pod may judge a token that the edge cannot verify.
  const record = await ports.directory.record();
  if (!record.ok) return record;
  return ok(isOnlyOfRegistry(record.value, pod.id) ? { kind: "undecided", jwt } : "invalid");
}

/**
 * Opens a grant that the edge itself gave while the Pod's token service failed. Null if the grant is forged or has ended, or if the Pod's record now
 * says `graceSeconds: 0`.
 */
async function openPart(
  { sealed }: EdgePart,
  { id, outage }: Pod,
  { config, rejected, now }: GrantPorts,
): Promise<readonly Access[] | null> {
  const key = `${id}/edge.${sealed}`;
  if (outage.graceSeconds === 0 || isRejected(rejected, key)) return null;
  const access = await openEdgeGrant(sealed, id, { edgeKeys: config.edgeKeys, now });
  if (access !== null && access !== "forged") return access;
  reject(rejected, key, access);
  return null;
}

type VerifiedPart = { readonly pod: PodId; readonly access: readonly Access[] };

async function verifiedParts(
  parts: readonly TokenPart[],
  ports: GrantPorts,
): Promise<Result<readonly VerifiedPart[], DirectoryFailure>> {
  const verified: VerifiedPart[] = [];
  for (const part of parts) {
    const pod = await ports.directory.claimedPod(part.pod);
    if (!pod.ok) return pod;
    const access = pod.value === null ? null : await accessOf(part, pod.value, ports);
    if (access !== null) verified.push({ pod: part.pod, access });
  }
  return ok(verified);
}

async function accessOf(part: TokenPart, pod: Pod, ports: GrantPorts): Promise<readonly Access[] | null> {
  if (part.kind === "edge") return openPart(part, pod, ports);
  const verdict = await verifyToken(part.jwt, pod, ports);
  return verdict.kind === "verified" ? verdict.access : null;
}

type Identified = { readonly grant: Grant; readonly pod: Pod };

/**
 * From the parts of a token, chooses the Pod for a request without a repository. A part that verifies comes first, then a grant that the edge gave,
 * then a part whose key the directory does not know.
 */
export async function identify(token: Token, ports: GrantPorts): Promise<Result<Identified, Refusal>> {
  const parts = await partsOf(token, ports.directory);
  if (!parts.ok) return parts;
  const others: Identified[] = [];
  for (const part of parts.value) {
    const pod = await ports.directory.claimedPod(part.pod);
    if (!pod.ok) return pod;
    if (pod.value === null) continue;
    const judged = await judge(part, pod.value, ports);
    if (!judged.ok) return judged;
    if (judged.value === "invalid") continue;
    if (judged.value.kind === "granted") return ok({ grant: judged.value, pod: pod.value });
    others.push({ grant: judged.value, pod: pod.value });
  }
  const found = others.find(({ grant }) => grant.kind === "edge") ?? others[0];
  return found === undefined ? invalidToken : ok(found);
}
