import { err, ok, type Result } from "../lib/result.ts";
import type { FetchRequest } from "../net/fetch.ts";
import { pickHeaders } from "../net/headers.ts";
import { readText } from "../net/within.ts";
import { formatScope } from "../oci/scope.ts";
import { tokenDeadlineMs } from "../pods/deadlines.ts";
import { type AdmittedPod, passPod } from "../pods/gate.ts";
import { notAPage } from "../pods/rewrite.ts";
import type { Refusal } from "../refusal.ts";
import { grantsNothing, type IssuedPart, parseTokenAnswer } from "./answer.ts";
import { accessForbidden, type PodQuestion } from "./plan.ts";
import type { TokenRequest } from "./request.ts";

/** `refused` is final. After `unavailable`, a later try may succeed. */
export type PodAnswer =
  | { readonly kind: "granted"; readonly part: IssuedPart }
  | { readonly kind: "refused" | "unavailable"; readonly answer: Result<Response, Refusal> };

/**
 * A proxy may answer 502 to a longer URL, although the token service is up. To pull or push an image, a client asks for a few scopes, which make a
 * shorter URL.
 */
const MAX_PLAIN_URL_CHARACTERS = 2_000;

/** Enough for the longest token, which the answer contains under two names. */
const MAX_ANSWER_BYTES = 96 * 1024;

export type AskPorts = {
  readonly callTokenService: (pod: AdmittedPod, request: FetchRequest) => Promise<Result<Response, Refusal>>;
  readonly now: Date;
  /** Ends the call when the client's answer no longer depends on it. */
  readonly signal: AbortSignal;
};

export async function askPod(
  question: PodQuestion,
  request: TokenRequest,
  { callTokenService, now, signal }: AskPorts,
): Promise<PodAnswer> {
  const { pod } = question;
  const unavailable = (failure: Refusal): PodAnswer => ({ kind: "unavailable", answer: err(failure) });
  const admitted = passPod("GET", pod);
  if (!admitted.ok) return unavailable(admitted.error);
  const sent = tokenServiceRequest(request, question);
  const answer = await callTokenService(admitted.value, { ...sent, signal });
  if (!answer.ok) return unavailable(answer.error);
  const { status } = answer.value;
  const asStranger = (request.anonymous || !question.withCredentials) && question.scopes.length > 0;
  // Anyone can make a proxy answer 502 by a long URL. This must not show that a name has a Pod, and must not pass for an outage, in which the edge
  // may grant pulls by itself.
  const isFailure = status >= 500 && sent.url.length <= MAX_PLAIN_URL_CHARACTERS;
  // A stranger can make a Pod answer 429, and must not learn from it that a name has a Pod. So a stranger's 429 counts as a refusal, and gets the
  // same answer as any other refusal.
  const isPassing = isFailure || (status === 429 && !asStranger);
  if (status >= 400) return { kind: isPassing ? "unavailable" : "refused", answer };
  if (status !== 200) return unavailable({ reason: "bad-answer", text: `token service answered ${status}` });
  const text = await readAnswer(answer.value);
  if (!text.ok) return unavailable(text.error);
  const jwt = parseTokenAnswer(text.value, now);
  if (!jwt.ok) return unavailable({ reason: "bad-answer", text: jwt.error });
  // Some token services give a stranger a token that allows nothing. Such a token would show that the name has a Pod, because without a Pod the
  // stranger is refused.
  if (asStranger && grantsNothing(jwt.value)) {
    return { kind: "refused", answer: err({ reason: "refused", error: accessForbidden }) };
  }
  return { kind: "granted", part: { kind: "pod", pod: pod.id, jwt: jwt.value } };
}

/** A connection that breaks or hangs is an outage, which may end soon. An answer that is too long or wrongly encoded is a bad answer. */
async function readAnswer(answer: Response): Promise<Result<string, Refusal>> {
  const read = await readText(answer, MAX_ANSWER_BYTES);
  if (read.ok) return read;
  if (read.error === "late") return err({ reason: "silent", text: "token service's answer does not end in time" });
  const isBroken = read.error === "broken" && !answer.headers.has("Content-Encoding");
  return err(
    isBroken
      ? { reason: "unreachable", text: "token service's answer breaks off" }
      : { reason: "bad-answer", text: `token service's answer is over ${MAX_ANSWER_BYTES} bytes or wrongly encoded` },
  );
}

/** Whether the Pod is asked by POST with a form. Otherwise we ask by GET, which every token service has. */
export const asksByForm = (request: TokenRequest, { withCredentials }: PodQuestion): boolean =>
  request.method === "POST" && withCredentials && !request.anonymous;

function tokenServiceRequest(request: TokenRequest, question: PodQuestion): FetchRequest {
  const { pod, scopes, withCredentials } = question;
  const byForm = asksByForm(request, question);
  const texts = scopes.map(formatScope);
  const scopeValues = byForm && texts.length > 0 ? [texts.join(" ")] : texts;
  const parameters = new URLSearchParams({ service: pod.audience });
  for (const [name, value] of withCredentials ? request.passed : []) parameters.append(name, value);
  for (const value of scopeValues) parameters.append("scope", value);
  const headers = new Headers({ Accept: "application/json", "Accept-Encoding": "identity", ...request.forwarded });
  if (withCredentials && request.authorization !== null) headers.set("Authorization", request.authorization);
  if (byForm) headers.set("Content-Type", "application/x-www-form-urlencoded");
  return {
    url: byForm ? pod.token : `${pod.token}?${parameters.toString()}`,
    method: byForm ? "POST" : "GET",
    headers,
    body: byForm ? parameters.toString() : null,
    bodyBytes: null,
    // If the edge repeats this request, the Pod may make two tokens. This does no harm.
    isRepeatable: true,
    deadlineMs: tokenDeadlineMs,
  };
}

/** Passes on the answer of a Pod that granted nothing. If its body breaks off or is encoded wrongly, the client gets a refusal of the edge. */
export async function passRefusal(answer: Result<Response, Refusal>): Promise<Result<Response, Refusal>> {
  if (!answer.ok) return answer;
  const text = await readAnswer(answer.value);
  if (!text.ok) return text;
  const { headers: own } = answer.value;
  const type = own.get("Content-Type") ?? "";
  const isText = /^(application\/([\w.-]+\+)?json|text\/plain)\s*(;|$)/i.test(type);
  const headers = {
    "Cache-Control": "no-store",
    // A link may open the token endpoint in a browser, which must not run a Pod's HTML under the edge's name.
    "Content-Type": isText ? type : "text/plain",
    ...notAPage,
    ...pickHeaders(own, ["Retry-After"]),
  };
  return ok(new Response(text.value, { status: answer.value.status, headers }));
}
