import type { TokenPart } from "../auth/bundle.ts";
import type { FetchPod } from "../directory/directory.ts";
import type { Misconfigured } from "../directory/secrets.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { textWithin } from "../net/body.ts";
import type { FetchRequest, PodFailure } from "../net/fetch-request.ts";
import { errorResponse } from "../oci/errors.ts";
import { formatScope } from "../oci/scope.ts";
import { grantsNothing, parseTokenAnswer } from "./answer.ts";
import { accessForbidden, type PodQuestion } from "./plan.ts";
import type { TokenRequest } from "./request.ts";

export type AskFailure = PodFailure | Misconfigured;

/** A Pod's word on its scopes. `refused` is for good, `unavailable` may change; both keep the answer that a client would get of it. */
export type PodAnswer =
  | { readonly kind: "granted"; readonly part: TokenPart }
  | { readonly kind: "refused" | "unavailable"; readonly answer: Result<Response, AskFailure> };

const tokenDeadlineMs = 10_000;
/** The longest token under both of its names. */
const MAX_ANSWER_BYTES = 96 * 1024;
const unreadable = `token service's answer is longer than ${MAX_ANSWER_BYTES} bytes, or does not end`;

export async function askPod(question: PodQuestion, request: TokenRequest, fetchPod: FetchPod): Promise<PodAnswer> {
  const { pod } = question;
  const unavailable = (failure: AskFailure): PodAnswer => ({ kind: "unavailable", answer: err(failure) });
  if (pod.state === "down") return unavailable({ reason: "unreachable", text: `Pod "${pod.id}" is down` });
  const answer = await fetchPod(pod, tokenServiceRequest(request, question));
  if (!answer.ok) return unavailable(answer.error);
  const { status } = answer.value;
  if (status >= 400) return { kind: status >= 500 || status === 429 ? "unavailable" : "refused", answer };
  if (status !== 200) return unavailable({ reason: "bad-answer", text: `token service answered ${status}` });
  const text = await textWithin(answer.value, MAX_ANSWER_BYTES);
  const jwt = text === null ? err(unreadable) : parseTokenAnswer(text);
  if (!jwt.ok) return unavailable({ reason: "bad-answer", text: jwt.error });
  // Some services give strangers a token for nothing, where GitLab's refuses: neither may tell a name that exists.
  const asStranger = request.anonymous || !question.withCredentials;
  if (asStranger && question.scopes.length > 0 && grantsNothing(jwt.value)) {
    return { kind: "refused", answer: ok(errorResponse(accessForbidden)) };
  }
  return { kind: "granted", part: { pod: pod.id, jwt: jwt.value } };
}

/** A form is passed on as one if it carries credentials, to whom it may: without, GET says the same, and every service has that. */
export const asksByForm = (request: TokenRequest, { withCredentials }: PodQuestion): boolean =>
  request.method === "POST" && withCredentials && !request.anonymous;

/** The client's request as this Pod is to see it: its own audience, its own scopes. */
function tokenServiceRequest(request: TokenRequest, question: PodQuestion): FetchRequest {
  const { pod, scopes, withCredentials } = question;
  const byForm = asksByForm(request, question);
  const own = scopes.map((scope) => ["scope", formatScope(scope)] as const);
  const joined = own.length === 0 ? [] : [["scope", own.map(([, text]) => text).join(" ")] as const];
  const passed = withCredentials ? request.passed : [];
  const parameters = new URLSearchParams(
    [["service", pod.audience], ...passed, ...(byForm ? joined : own)].map(([name, value]) => [name, value]),
  );
  const headers = new Headers({ Accept: "application/json", "Accept-Encoding": "identity", ...request.forwarded });
  if (withCredentials && request.authorization !== null) headers.set("Authorization", request.authorization);
  if (byForm) headers.set("Content-Type", "application/x-www-form-urlencoded");
  return {
    url: byForm ? pod.token : `${pod.token}?${parameters.toString()}`,
    method: byForm ? "POST" : "GET",
    headers,
    body: byForm ? parameters.toString() : null,
    bodyBytes: null,
    deadlineMs: tokenDeadlineMs,
  };
}

/**
 * The answer of a Pod that granted nothing, as the client gets it: status and body, and of the headers what concerns the client. Read
 * whole, so that a body that breaks off, or is not encoded as it says, is a wrong answer of the Pod's and not half a one of ours.
 */
export async function passRefusal(answer: Result<Response, AskFailure>): Promise<Result<Response, AskFailure>> {
  if (!answer.ok) return answer;
  const text = await textWithin(answer.value, MAX_ANSWER_BYTES);
  if (text === null) return err({ reason: "bad-answer", text: unreadable });
  const headers = new Headers({ "Cache-Control": "no-store" });
  for (const name of ["Content-Type", "Retry-After"]) {
    const value = answer.value.headers.get(name);
    if (value !== null) headers.set(name, value);
  }
  return ok(new Response(text, { status: answer.value.status, headers }));
}
