import { err, ok, type Result } from "../lib/result.ts";
import { forwardedHeaders } from "../net/headers.ts";
import { textWithin } from "../net/within.ts";
import type { OciError } from "../oci/errors.ts";
import { hasMoreParameters, MAX_TOKEN_PARAMETERS } from "../oci/query.ts";
import { type Access, parseScopes } from "../oci/scope.ts";

/** A token request, which comes as GET with a query, or as POST with a form (OAuth2, distribution's token spec). */
export type TokenRequest = {
  readonly method: "GET" | "POST";
  readonly scopes: readonly Access[];
  /** The request has neither Basic credentials nor a form with a password or refresh token. */
  readonly anonymous: boolean;
  readonly authorization: string | null;
  /** The password or refresh token, which is never logged. GitLab's may contain a cell id, which tells the edge which Pod to ask. */
  readonly secret: string | null;
  /** The parameters that are passed to the Pod in addition to scopes and service. */
  readonly passed: readonly (readonly [string, string])[];
  /** The `X-Forwarded-…` headers. Token services limit and ban by address, so they must see the client's address, not the edge's. */
  readonly forwarded: Readonly<Record<string, string>>;
};

/**
 * Some clients ask for every repository that they have touched (regclient). Only a form can have this many scopes, because Cloudflare takes URLs of
 * at most 16 KB.
 */
const MAX_SCOPES = 200;
const MAX_FORM_BYTES = 64 * 1024;
/**
 * A Pod gets only these parameters of a query. They describe the client, so the Pod can do without them. A value that is longer than
 * `MAX_DESCRIBING_CHARACTERS` is left out, because a proxy may answer 502 to a long URL.
 */
const describing = ["account", "client_id"];
const MAX_DESCRIBING_CHARACTERS = 256;
const passedByPost = ["grant_type", "username", "password", "refresh_token", "client_id"];

export async function parseTokenRequest(request: Request, service: string): Promise<Result<TokenRequest, OciError>> {
  const isForm = request.method === "POST";
  const text = isForm ? await textWithin(request, MAX_FORM_BYTES) : new URL(request.url).search;
  if (text === null) {
    const message = `form does not end within ${MAX_FORM_BYTES} bytes and 10 seconds, or comes in very small pieces`;
    return err({ code: "QUERY_INVALID", message });
  }
  if (hasMoreParameters(text, MAX_TOKEN_PARAMETERS)) {
    return err({
      code: "QUERY_INVALID",
      message: `request has more than ${MAX_TOKEN_PARAMETERS} parameters; send fewer`,
    });
  }
  const parameters = new URLSearchParams(text);
  const asked = parameters.get("service") ?? "";
  // Clients send the service that the challenge names. Some send no service, or an empty text.
  if (asked !== "" && asked !== service) {
    return err({
      code: "UNSUPPORTED",
      status: 400,
      message: `service "${asked.slice(0, 100)}" is not served here; want "${service}"`,
    });
  }
  const scopes = parseScopes(parameters.getAll("scope"));
  if (scopes.length > MAX_SCOPES) {
    return err({
      code: "UNSUPPORTED",
      status: 400,
      message: `request names ${scopes.length} scopes; want at most ${MAX_SCOPES}`,
    });
  }
  const passedNames = isForm ? passedByPost : describing;
  // Some token services fail at a control character, and such a failure would tell a stranger that the repository has a Pod. So a value with a
  // control character is left out, unless it is a password.
  const given = passedNames.flatMap((name) => parameters.getAll(name).map((value) => [name, value] as const));
  const passed = given.filter(([name, value]) => isPassed(name, value));
  const authorization = basicOnly(request.headers.get("Authorization"));
  // A password in a query is ignored, and the edge sends it to no Pod.
  const formSecret = isForm ? (parameters.get("password") ?? parameters.get("refresh_token")) : null;
  const anonymous = authorization === null && formSecret === null;
  const secret = passwordOf(authorization) ?? formSecret;
  const forwarded = forwardedHeaders(request);
  return ok({ method: isForm ? "POST" : "GET", scopes, anonymous, authorization, secret, passed, forwarded });
}

function isPassed(name: string, value: string): boolean {
  if (describing.includes(name) && value.length > MAX_DESCRIBING_CHARACTERS) return false;
  return name === "password" || !/\p{Cc}/u.test(value);
}

/** The password is everything after the first colon (RFC 7617 §2). */
function passwordOf(authorization: string | null): string | null {
  const pair = authorization === null ? null : basicPair(authorization);
  return pair === null ? null : pair.slice(pair.indexOf(":") + 1);
}

/** Decodes the user name and password of a header, with one character for each byte. Null if the header is not base64. */
export function basicPair(authorization: string): string | null {
  try {
    return atob(authorization.replace(/^basic\s+/i, "").trim());
  } catch {
    return null;
  }
}

/**
 * Returns a Basic header in the form that clients use. Null if it is no Basic header. While a token service fails, the edge itself grants the pulls
 * that it remembers. A user who has lost a right could make the service fail by an odd header, such as one with many spaces.
 */
function basicOnly(authorization: string | null): string | null {
  if (authorization === null || !/^basic\s/i.test(authorization)) return null;
  const pair = basicPair(authorization);
  return pair === null ? authorization : `Basic ${btoa(pair)}`;
}
