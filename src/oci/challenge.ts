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

/** What the first Bearer challenge of a Pod's answer says, or null if there is none. A parameter that it lacks is empty. */
export function parseChallenge(header: string | null): Challenge | null {
  const parameters = header === null ? null : bearerParameters(header);
  if (parameters === null) return null;
  const value = (key: string) => parameters.get(key) ?? "";
  const error = value("error");
  return {
    realm: value("realm"),
    service: value("service"),
    access: parseScopes([value("scope")]),
    error: error === "invalid_token" || error === "insufficient_scope" ? error : null,
  };
}

/** Longer than any challenge for one repository. */
const MAX_HEADER_CHARACTERS = 8192;
/** A scheme, or a parameter with its value. No two parts that repeat can take the same character, so the time to match is linear. */
const schemeOrParameter = /[\s,]*([^\s,="]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?/gy;

/** A header may have several challenges (RFC 9110 §11.6.1), and several header lines are one header. Null: there is no Bearer challenge. */
function bearerParameters(header: string): ReadonlyMap<string, string> | null {
  if (header.length > MAX_HEADER_CHARACTERS) return null;
  const parameters = new Map<string, string>();
  let isBearer = false;
  for (const [, name = "", quoted, token] of header.matchAll(schemeOrParameter)) {
    const key = name.toLowerCase();
    const value = quoted?.replace(/\\(.)/g, "$1") ?? token;
    if (value !== undefined) {
      if (isBearer && !parameters.has(key)) parameters.set(key, value);
    } else if (isBearer) break;
    else isBearer = key === "bearer";
  }
  return isBearer ? parameters : null;
}
