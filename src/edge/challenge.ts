import { type Challenge, formatChallenge } from "../oci/challenge.ts";
import type { RegistryEndpoint } from "../oci/endpoint.ts";
import type { OciError } from "../oci/errors.ts";
import { accessList, isOfGrammar, requiredAccess } from "../oci/scope.ts";
import type { Unauthorized } from "../refusal.ts";

export type OwnChallenge = Omit<Challenge, "error">;

/** Makes the error that registries give (distribution: `authentication required`, with the missing access). */
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

/** One request, as the client sent it and as the Pod got it. If a repository was renamed, the Pod got its new name. */
type Challenged = { readonly asked: RegistryEndpoint; readonly sent: RegistryEndpoint };

/**
 * Turns a Pod's challenge into the edge's own. It keeps the Pod's error, and the Pod's scopes for names that were in the request. A renamed
 * repository gets the name that the client used. If no scope is left, the challenge asks for the access that the request needs.
 */
export function rewriteChallenge(
  { asked, sent }: Challenged,
  challenge: Challenge | null,
  challenger: Pick<Challenge, "realm" | "service">,
): string {
  const required = accessList(requiredAccess(asked));
  const namesSent = accessList(requiredAccess(sent)).map(({ name }) => name);
  const kept = (challenge?.access ?? []).flatMap((access) => {
    const own = required[namesSent.indexOf(access.name)];
    // With a quote in a scope, a hostile Pod could add a realm of its own, and clients would send the user's password there.
    return own !== undefined && isOfGrammar(access) ? [{ ...access, name: own.name }] : [];
  });
  const access = kept.length === 0 ? required : kept;
  return formatChallenge({ ...challenger, access, error: challenge?.error ?? null });
}
