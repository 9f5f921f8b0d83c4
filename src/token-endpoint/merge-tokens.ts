import { err, ok, type Result } from "../lib/result.ts";
import type { OciError } from "../oci/errors.ts";
import type { Refusal } from "../refusal.ts";
import { remainingSeconds, tokenResponse } from "./answer.ts";
import { asksByForm, passRefusal } from "./ask-pod.ts";
import type { Asked } from "./ask-pods.ts";
import { accessForbidden, type Plan } from "./plan.ts";
import type { TokenRequest } from "./request.ts";

/**
 * The longest life of a token that lacks a Pod's part, because that Pod is down or the request has too many names. It is short, so that clients soon
 * ask again.
 */
const incompleteLifeSeconds = 60;
/**
 * If a Pod grants pulls for less time than this, its part is left out (see `mergeTokens`). A bundle expires with the part that expires first, and
 * clients would then ask for all parts again.
 */
const leastLifeSeconds = 30;

/**
 * If all Pods have the same users, this message replaces a Pod's own answer to a wrong password. The Pod's words would tell a stranger with a
 * made-up password which Pod has the repository. docker prints the message.
 */
const wrongCredentials: OciError = {
  code: "UNAUTHORIZED",
  message:
    "incorrect user name or password; log in again, with an access token if your account has two-factor authentication",
};

/**
 * Joins the parts that the Pods granted into one bundle, or returns a refusal.
 * - If a Pod's token service takes no POST, the edge answers 404, and clients ask again with GET.
 * - If a Pod grants nothing, although it was asked for a login or for more than pull, the client gets that Pod's answer. Of several such Pods, the
 *   first in request order counts.
 * - Refused pulls are left out, because clients also ask for things that they can do without (a mount's source, a second name).
 * - A grant of pulls that expires within seconds is left out too, unless no other usable part is granted.
 * - If nothing is granted, the client gets the first refusal by a Pod that got the credentials, or else the first refusal by any Pod.
 */
export async function mergeTokens(
  asked: readonly Asked[],
  request: TokenRequest,
  { now, plan }: { readonly now: Date; readonly plan: Plan },
): Promise<Result<Response, Refusal>> {
  const granted = asked.flatMap(({ question: { decides, isUsable }, answer }) =>
    answer.kind === "granted" ? [{ decides, isUsable, part: answer.part }] : [],
  );
  const lasting = granted.filter(({ decides, part }) => decides || remainingSeconds(part, now) >= leastLifeSeconds);
  const kept = lasting.some(({ isUsable }) => isUsable) ? lasting : granted;
  const missing = asked.filter(({ answer }) => answer.kind !== "granted");
  const refused = missing.filter(({ answer }) => answer.kind === "refused");
  const decisive =
    missing.find((each) => lacksForm(each, request)) ??
    missing.find(({ question }) => question.decides) ??
    (granted.length > 0
      ? undefined
      : (refused.find(({ question }) => question.withCredentials) ?? refused[0] ?? missing[0]));
  await Promise.all(missing.filter((each) => each !== decisive).map(discard));
  if (decisive !== undefined) {
    const answer = await refusalOf(decisive, request, plan);
    return answer.ok ? answer : err({ ...answer.error, pod: decisive.question.pod.id });
  }
  const isShort = kept.length < granted.length || missing.some(({ answer }) => answer.kind === "unavailable");
  const parts = kept.map(({ part }) => part);
  return ok(tokenResponse(parts, now, plan.isCut || isShort ? incompleteLifeSeconds : null));
}

/** Whether the Pod's token service takes no POST. */
function lacksForm({ question, answer }: Asked, request: TokenRequest): boolean {
  if (answer.kind !== "refused" || !answer.answer.ok || !asksByForm(request, question)) return false;
  return answer.answer.value.status === 404 || answer.answer.value.status === 405;
}

async function refusalOf(asked: Asked, request: TokenRequest, { isShared }: Plan): Promise<Result<Response, Refusal>> {
  const { answer } = asked;
  if (answer.kind === "granted") throw new Error("a granted part is not a refusal");
  if (lacksForm(asked, request)) return err({ reason: "no-form" });
  // A Pod's own words could tell a stranger that there was a Pod to ask, for example if the Pod complains about a parameter.
  if (request.anonymous && answer.kind === "refused") {
    await discard(asked);
    return err({ reason: "refused", error: accessForbidden });
  }
  const isWrong = answer.answer.ok && answer.answer.value.status === 401;
  if (isShared && isWrong && request.scopes.length > 0) {
    await discard(asked);
    return err({ reason: "refused", error: wrongCredentials });
  }
  return passRefusal(answer.answer);
}

/** Cancels an answer that is not passed on, so that its connection is free. */
export async function discard({ answer }: Asked): Promise<void> {
  if (answer.kind !== "granted" && answer.answer.ok) await answer.answer.value.body?.cancel();
}
