import { type Access, formatScope, parseScopes } from "./scope.ts";

/** RFC 6750 §3.1. A challenge has no error if the request had no token. */
export type ChallengeError = "invalid_token" | "insufficient_scope";

export type Challenge = {
  readonly realm: string;
  readonly service: string;
  readonly access: readonly Access[];
  readonly error: ChallengeError | null;
};

/** One header line, lower-case keys, no spaces after commas: the form that every client's parser reads (RFC 9110 §11.6.1). */
export function formatChallenge({ realm, service, access, error }: Challenge): string {
  const scope = access.map(formatScope).join(" ");
  const parameters = [
    `realm="${realm}"`,
    `service="${service}"`,
    ...(scope === "" ? [] : [`scope="${scope}"`]),
    ...(error === null ? [] : [`error="${error}"`]),
  ];
  return `Bearer ${parameters.join(",")}`;
}

/** What a Pod's own Bearer challenge says, or null if the Pod sent none. A parameter that it lacks is empty. */
export function parseChallenge(header: string | null): Challenge | null {
  if (header === null || !/^bearer\s/i.test(header)) return null;
  const value = (key: string) => new RegExp(`[\\s,]${key}="([^"]*)"`, "i").exec(header)?.[1] ?? "";
  const error = value("error");
  return {
    realm: value("realm"),
    service: value("service"),
    access: parseScopes([value("scope")]),
    error: error === "invalid_token" || error === "insufficient_scope" ? error : null,
  };
}
