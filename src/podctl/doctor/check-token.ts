import { compactVerify, decodeJwt, importJWK, type JWK } from "jose";
import { parseToken } from "../../auth/bundle.ts";
import { claimedAccess, createVerifiedTokens, keyId, noneRejected, verifyToken } from "../../auth/verify.ts";
import { err, ok, type Result } from "../../lib/result.ts";
import { messageIn } from "../../oci/errors.ts";
import { type Access, covers, formatScope } from "../../oci/scope.ts";
import { whyEdge } from "../../topology/check-pod.ts";
import { keyMistake } from "../../topology/key-mistake.ts";
import { formatPath } from "../../topology/mistake.ts";
import { basic, type Called, call, tokenIn } from "../http-call.ts";
import { passwordVariable, userVariable } from "../target/operator.ts";
import { isOfEdge } from "./check-registry.ts";
import type { PodUnderTest } from "./pod-under-test.ts";

/** `sent` is the whole token, which podctl sends to the registry or the edge. `jwt` is the part of `sent` that this Pod signed. */
type Token = { readonly sent: string; readonly jwt: string };

export type TokenFailure = {
  /** `excluded`: nothing is wrong, but the rules of the probe's group exclude podctl's own address. */
  readonly finding: "token-unreachable" | "token-wrong" | "edge-wrong" | "credentials-refused" | "excluded";
  readonly text: string;
};

type TokenQuestion = {
  /**
   * The `service` of the registry's challenge. podctl sends it to the Pod's token service. The edge needs none, because it sends the Pod the
   * `audience` of the Pod's record.
   */
  readonly service: string;
  readonly wanted: Access;
};

export async function fetchToken(
  { pod, clocks, user, way, deployment, denial }: PodUnderTest,
  { service, wanted }: TokenQuestion,
): Promise<Result<Token, TokenFailure>> {
  const loop = whyEdge(pod.token, deployment);
  if (loop !== null) return err({ finding: "token-wrong", text: `${pod.token} ${loop}` });
  const url = new URL(way === "direct" ? pod.token : `${deployment.edge}/jwt/auth`);
  if (way === "direct") url.searchParams.set("service", service);
  url.searchParams.set("scope", formatScope(wanted));
  const answer = await call(url, { headers: basic(user) });
  if (!answer.ok) return err({ finding: "token-unreachable", text: answer.error });
  clocks.see("the token service", answer.value);
  const { status, text } = answer.value;
  const who = user === null ? "anonymous" : `user "${user.name}"`;
  if (way === "through the edge" && status === 403 && denial !== null && messageIn(text) === denial) {
    return err({ finding: "excluded", text: excludesUs });
  }
  if (status === 401 || status === 403) {
    return err({ finding: "credentials-refused", text: `the token service answers ${status} to ${who}` });
  }
  const sent = tokenIn(answer.value) ?? "";
  const parsed = parseToken(sent);
  if (!parsed.ok) return err(withoutToken({ pod, way }, url, answer.value));
  const { value } = parsed;
  const own =
    value.kind === "bundle"
      ? value.parts.find((part) => part.pod === pod.id)
      : { kind: "pod" as const, jwt: value.jwt };
  if (own?.kind === "edge") {
    const text = `the token service does not answer, so the edge grants to ${who} by itself what it has granted before`;
    return err({ finding: "token-unreachable", text });
  }
  const jwt = own?.jwt ?? "";
  if (covers(claimedAccess(jwt) ?? [], wanted)) return ok({ sent, jwt });
  return err({ finding: "credentials-refused", text: `${who} may not ${wanted.actions.join(", ")} "${wanted.name}"` });
}

function withoutToken(
  { pod: { trust }, way }: Pick<PodUnderTest, "pod" | "way">,
  { origin, pathname }: URL,
  answer: Called,
): TokenFailure {
  const { status } = answer;
  const text = `${origin}${pathname} answers ${status}${status === 200 ? " without a JWT" : ""}`;
  if (way === "through the edge" && status === 503) return { finding: "token-unreachable", text };
  if (way === "direct" || status !== 500 || !isOfEdge(answer)) return { finding: "token-wrong", text };
  const why = trust?.kind === "binding" ? `; look whether the Worker has the binding "${trust.binding}"` : "";
  return { finding: "edge-wrong", text: text + why };
}

export const excludesUs =
  "the `clients` rules of the probe's group exclude this address: run doctor from a network that they allow";

export const noLogin = ({ pod, way }: PodUnderTest): string =>
  way === "direct"
    ? `podctl has no login for this Pod: set ${userVariable(pod.id)} and ${passwordVariable(pod.id)}; with \`credentials: own\`, PODCTL_USER is only for the default Pod`
    : "with `credentials: own`, the edge sends a login to this Pod only if its password is a GitLab token that names the Pod's cell";

/** An operator may have put the record into KV by hand, and then `podctl validate` has not checked its keys. */
export function checkKeys({ pod, checks }: PodUnderTest): void {
  for (const [index, key] of pod.keys.entries()) {
    const wrong = keyMistake(key);
    if (wrong === null) continue;
    checks.found("keys", "key-unusable", `${formatPath(["keys", index, ...wrong.path])} ${wrong.text}`);
  }
}

/** Checks a token as the edge does. If the registry's challenge has already shown a wrong audience, we do not report the audience again. */
export async function checkToken(tested: PodUnderTest, jwt: string, isAudienceReported: boolean): Promise<void> {
  const { pod, checks } = tested;
  const named = keyId(jwt);
  const kid = named.ok ? named.value : null;
  const key = pod.keys.find((candidate) => candidate.kid === kid);
  if (key === undefined) {
    return checks.found(
      "token key",
      "key-unknown",
      `tokens name the key "${kid ?? "none"}", which \`keys\` does not have`,
    );
  }
  // `checkKeys` has reported this key.
  if (keyMistake(key) !== null) return;
  if (!(await isSignedBy(jwt, key))) {
    return checks.found("token key", "key-wrong", `a token names the key "${kid}" but is not signed by it`);
  }
  checks.ok("token key", key.kid);
  const { iss, aud } = decodeJwt(jwt);
  if (iss !== pod.issuer)
    checks.found("issuer", "issuer-wrong", `tokens say "${iss ?? "none"}", the record "${pod.issuer}"`);
  else checks.ok("issuer", pod.issuer);
  if (isAudienceReported) return;
  // A token service may write anything into `aud`, although it should be a text or a list of texts (RFC 7519 §4.1.3).
  const audiences: readonly unknown[] = [aud ?? []].flat();
  if (audiences.includes(pod.audience)) {
    checks.ok("audience", pod.audience);
    if (iss === pod.issuer) await checkClaims(tested, jwt);
    return;
  }
  const said = audiences.map((each) => (typeof each === "string" ? each : JSON.stringify(each))).join(", ");
  checks.found("audience", "audience-wrong", `tokens say "${said || "none"}", the record "${pod.audience}"`);
}

/** Finds out whether the edge accepts a token whose key, issuer and audience are right. */
async function checkClaims({ pod, checks, deployment }: PodUnderTest, jwt: string): Promise<void> {
  const now = new Date(Date.now() + deployment.edgeAheadSeconds * 1_000);
  const tokens = { verified: createVerifiedTokens(), keys: new WeakMap() };
  const { kind } = await verifyToken(jwt, pod, { tokens, rejected: noneRejected(), now });
  if (kind === "verified") return;
  const { exp, nbf, aud } = decodeJwt(jwt);
  const said = JSON.stringify({ exp: exp ?? null, nbf: nbf ?? null, audiences: [aud].flat().length });
  checks.found("token claims", "token-claims", `at ${now.toISOString()}, the edge refuses a token with ${said}`);
}

async function isSignedBy(jwt: string, key: PodUnderTest["pod"]["keys"][number]): Promise<boolean> {
  try {
    await compactVerify(jwt, await importJWK(key as JWK, key.alg), { algorithms: [key.alg] });
    return true;
  } catch {
    return false;
  }
}
