import { err, ok, type Result } from "../lib/result.ts";
import type { OciError } from "../oci/errors.ts";
import { type Access, parseScopes } from "../oci/scope.ts";

/** A token request, whichever way it came: GET with a query, or POST with a form (OAuth2, distribution's token spec). */
export type TokenRequest = {
  readonly method: "GET" | "POST";
  readonly scopes: readonly Access[];
  /** Basic credentials or a form with a password or refresh token. */
  readonly anonymous: boolean;
  readonly authorization: string | null;
  /** What passes to the Pod beside scopes and service. */
  readonly passed: readonly (readonly [string, string])[];
};

const MAX_SCOPES = 64;
const MAX_FORM_BYTES = 64 * 1024;
const passedByGet = ["account", "client_id"];
const passedByPost = ["grant_type", "username", "password", "refresh_token", "client_id"];

export async function parseTokenRequest(request: Request, service: string): Promise<Result<TokenRequest, OciError>> {
  const isForm = request.method === "POST";
  const text = isForm ? await boundedText(request, MAX_FORM_BYTES) : new URL(request.url).search;
  if (text === null)
    return err({ code: "QUERY_INVALID", message: `form is too long; want at most ${MAX_FORM_BYTES} bytes` });
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
  const anonymous = authorization === null && !parameters.has("password") && !parameters.has("refresh_token");
  return ok({ method: isForm ? "POST" : "GET", scopes, anonymous, authorization, passed });
}

const basicOnly = (authorization: string | null): string | null =>
  authorization !== null && /^basic\s/i.test(authorization) ? authorization : null;

/** The whole body as text; null when it is longer. */
export async function boundedText(body: Request | Response, maxBytes: number): Promise<string | null> {
  if (body.body === null) return "";
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of body.body as ReadableStream<Uint8Array>) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes) return null;
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}
