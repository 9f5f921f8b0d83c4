import { err, ok, type Result } from "../lib/result.ts";
import { textWithin } from "../net/body.ts";
import { forwardedHeaders } from "../net/headers.ts";
import type { OciError } from "../oci/errors.ts";
import { type Access, parseScopes } from "../oci/scope.ts";

/** A token request, whichever way it came: GET with a query, or POST with a form (OAuth2, distribution's token spec). */
export type TokenRequest = {
  readonly method: "GET" | "POST";
  readonly scopes: readonly Access[];
  /** Basic credentials or a form with a password or refresh token. */
  readonly anonymous: boolean;
  readonly authorization: string | null;
  /** The password or refresh token, to read from it whose it is; never logged. */
  readonly secret: string | null;
  /** What passes to the Pod beside scopes and service. */
  readonly passed: readonly (readonly [string, string])[];
  /** Token services limit and ban by the client's address, which is not the edge's. */
  readonly forwarded: Readonly<Record<string, string>>;
};

/** Some clients ask for every repository that they have touched (regclient); what a URL holds of Cloudflare's 16 KB is less. */
const MAX_SCOPES = 200;
const MAX_FORM_BYTES = 64 * 1024;
const passedByGet = ["account", "client_id"];
const passedByPost = ["grant_type", "username", "password", "refresh_token", "client_id"];

export async function parseTokenRequest(request: Request, service: string): Promise<Result<TokenRequest, OciError>> {
  const isForm = request.method === "POST";
  const text = isForm ? await textWithin(request, MAX_FORM_BYTES) : new URL(request.url).search;
  if (text === null)
    return err({ code: "QUERY_INVALID", message: `form does not end within ${MAX_FORM_BYTES} bytes and 10 seconds` });
  const parameters = new URLSearchParams(text);
  const asked = parameters.get("service") ?? "";
  // Clients of a challenge send its service; some send none or an empty one.
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
  const passed = [...parameters].filter(([name]) => (isForm ? passedByPost : passedByGet).includes(name));
  const authorization = basicOnly(request.headers.get("Authorization"));
  // In a query they are none: no Pod would be sent them.
  const formSecret = isForm ? (parameters.get("password") ?? parameters.get("refresh_token")) : null;
  const anonymous = authorization === null && formSecret === null;
  const secret = passwordOf(authorization) ?? formSecret;
  const forwarded = forwardedHeaders(request);
  return ok({ method: isForm ? "POST" : "GET", scopes, anonymous, authorization, secret, passed, forwarded });
}

/** RFC 7617 §2: all after the first colon. */
function passwordOf(authorization: string | null): string | null {
  if (authorization === null) return null;
  try {
    const pair = atob(authorization.replace(/^basic\s+/i, "").trim());
    return pair.slice(pair.indexOf(":") + 1);
  } catch {
    return null;
  }
}

const basicOnly = (authorization: string | null): string | null =>
  authorization !== null && /^basic\s/i.test(authorization) ? authorization : null;
