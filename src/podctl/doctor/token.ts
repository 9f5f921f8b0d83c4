import { compactVerify, decodeJwt, importJWK, type JWK } from "jose";
import { parseToken } from "../../auth/bundle.ts";
import { claimedAccess, keyId } from "../../auth/verify.ts";
import { parseJsonObject } from "../../lib/json.ts";
import { err, ok, type Result } from "../../lib/result.ts";
import { type Access, covers, formatScope } from "../../oci/scope.ts";
import { type Called, call } from "../http-call.ts";
import type { Subject } from "./subject.ts";

/** `sent`: what the registry, or the edge, is to be shown. */
export type Token = { readonly sent: string; readonly jwt: string };

export type TokenFailure = {
  readonly finding: "token-unreachable" | "token-wrong" | "credentials-refused";
  readonly text: string;
};

/** A token for the probe repository, from the Pod's token service or, where only the edge reaches that, from the edge. */
export async function fetchToken(
  { pod, user, way, deployment }: Subject,
  service: string,
  wanted: Access,
  clock: (seen: Called) => void,
): Promise<Result<Token, TokenFailure>> {
  const url = new URL(way === "direct" ? pod.token : `${deployment.edge}/jwt/auth`);
  if (way === "direct") url.searchParams.set("service", service);
  url.searchParams.set("scope", formatScope(wanted));
  const basic = user === null ? null : Buffer.from(`${user.name}:${user.password}`).toString("base64");
  const answer = await call(url, basic === null ? {} : { headers: { Authorization: `Basic ${basic}` } });
  if (!answer.ok) return err({ finding: "token-unreachable", text: answer.error });
  clock(answer.value);
  const { status, text } = answer.value;
  const who = user === null ? "anonymous" : `user "${user.name}"`;
  if (status === 401 || status === 403) {
    return err({ finding: "credentials-refused", text: `the token service answers ${status} to ${who}` });
  }
  const { token, access_token } = (status === 200 ? parseJsonObject(text) : null) ?? {};
  const found = token ?? access_token;
  const sent = typeof found === "string" ? found : "";
  const parsed = parseToken(sent);
  if (!parsed.ok) {
    const finding = status === 503 && way === "through the edge" ? "token-unreachable" : "token-wrong";
    return err({
      finding,
      text: `${url.origin + url.pathname} answers ${status}${status === 200 ? " without a JWT" : ""}`,
    });
  }
  const { value } = parsed;
  const jwt = value.kind === "bare" ? value.jwt : (value.parts.find((part) => part.pod === pod.id)?.jwt ?? "");
  if (covers(claimedAccess(jwt) ?? [], wanted)) return ok({ sent, jwt });
  return err({ finding: "credentials-refused", text: `${who} may not ${wanted.actions.join(", ")} "${wanted.name}"` });
}

/** What the edge would check of the token, one by one. `audienceKnownWrong`: it has been said already. */
export async function checkToken({ pod, checks }: Subject, jwt: string, audienceKnownWrong: boolean): Promise<void> {
  const named = keyId(jwt);
  const kid = named.ok ? named.value : null;
  const key = pod.keys.find((candidate) => candidate.kid === kid);
  if (key === undefined) {
    return checks.found("token key", "key-unknown", `tokens name the key "${kid ?? "none"}", which keys does not hold`);
  }
  if (!(await isSignedBy(jwt, key))) {
    return checks.found("token key", "key-wrong", `a token that names the key "${kid}" is not signed by it`);
  }
  checks.ok("token key", key.kid);
  const { iss, aud } = decodeJwt(jwt);
  if (iss !== pod.issuer)
    checks.found("issuer", "issuer-wrong", `tokens say "${iss ?? "none"}", the record "${pod.issuer}"`);
  else checks.ok("issuer", pod.issuer);
  if (audienceKnownWrong) return;
  const audiences = typeof aud === "string" ? [aud] : (aud ?? []);
  if (audiences.includes(pod.audience)) return checks.ok("audience", pod.audience);
  checks.found("audience", "audience-wrong", `tokens say "${audiences.join(", ")}", the record "${pod.audience}"`);
}

async function isSignedBy(jwt: string, key: Subject["pod"]["keys"][number]): Promise<boolean> {
  try {
    await compactVerify(jwt, await importJWK(key as JWK, key.alg), { algorithms: [key.alg] });
    return true;
  } catch {
    return false;
  }
}
