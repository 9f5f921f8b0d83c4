/** The 401 challenges that clients see: the edge's own, and those of a Pod, rewritten to the edge's realm and service. */
import { type Challenge, formatChallenge } from "../oci/challenge.ts";
import type { RegistryEndpoint } from "../oci/endpoint.ts";
import type { OciError } from "../oci/errors.ts";
import { accessList, isOfGrammar, requiredAccess } from "../oci/scope.ts";
import type { Unauthorized } from "../refusal.ts";

/** What a 401 asks for: the realm and service of this deployment, and the access that the request needs. */
export type OwnChallenge = Omit<Challenge, "error">;

/**
 * Makes the error that registries give (distribution: `authentication required`, with the missing access), but with the edge's own realm and service.
 */
export function unauthorized({ error, text }: Unauthorized, challenge: OwnChallenge): OciError {
  const detail = challenge.access.flatMap(({ type, name, actions }) =>
    actions.map((action) => ({ Type: type, Class: "", Name: name, Action: action })),
  );
  return {
    code: "UNAUTHORIZED",
    message: text === undefined ? "authentication required" : `authentication required: ${text}`,
    detail: detail.length === 0 ? null : detail,
    headers: { "WWW-Authenticate": formatChallenge({ ...challenge, error }) },
  };
}

/**
 * Turns a Pod's challenge into the edge's own. The Pod's error stays, and so do those of the Pod's scopes that fit this endpoint. If none of them
 * fits, the challenge asks for the access that this endpoint needs.
 */
export function rewriteChallenge(
  endpoint: RegistryEndpoint,
  challenge: Challenge | null,
  challenger: Pick<Challenge, "realm" | "service">,
): string {
  const required = accessList(requiredAccess(endpoint));
  // With a quote in a scope, a hostile Pod could add a realm of its own, and clients would send the user's password there.
  const kept = (challenge?.access ?? []).filter(
    (access) => isOfGrammar(access) && required.some(({ name }) => name === access.name),
  );
  const access = kept.length === 0 ? required : kept;
  return formatChallenge({ ...challenger, access, error: challenge?.error ?? null });
}
