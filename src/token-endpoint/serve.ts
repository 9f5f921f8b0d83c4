import type { Directory, FetchPod } from "../directory/directory.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { tokenResponse } from "./answer.ts";
import { type AskFailure, askPod, asksByForm, type PodAnswer, passRefusal } from "./ask-pod.ts";
import { accessForbidden, type PlanRefusal, type PodQuestion, planLogin, planQuestions } from "./plan.ts";
import { parseTokenRequest, type TokenRequest } from "./request.ts";

export type TokenRefusal = PlanRefusal | AskFailure;

type TokenServices = {
  readonly directory: Directory;
  readonly service: string;
  readonly now: Date;
  readonly fetchPod: FetchPod;
};

/** `pods`: who was asked, for the log. */
type ServedToken = { readonly response: Response; readonly pods: string };

type Asked = { readonly question: PodQuestion; readonly answer: PodAnswer };

/** A part that is missing because its Pod is down may be had soon: clients come back for it. */
const incompleteLifeSeconds = 60;

/** The token endpoint: every Pod of the scopes is asked at once, each for its own; what they grant becomes one bundle. */
export async function serveToken(
  request: Request,
  services: TokenServices,
): Promise<Result<ServedToken, TokenRefusal>> {
  const parsed = await parseTokenRequest(request, services.service);
  if (!parsed.ok) return err({ reason: "refused", error: parsed.error });
  const questions = await planQuestions(parsed.value, services.directory);
  if (!questions.ok) return questions;
  const ask = (planned: readonly PodQuestion[]): Promise<readonly Asked[]> =>
    Promise.all(
      planned.map(async (question) => ({ question, answer: await askPod(question, parsed.value, services.fetchPod) })),
    );
  const asked = await ask(questions.value);
  const login = credentialsUnseen(asked) ? await planLogin(parsed.value, services.directory) : ok([]);
  if (!login.ok) return login;
  const refusedLogin = (await ask(login.value)).filter(({ answer }) => answer.kind === "refused");
  const heard = [...asked, ...refusedLogin];
  // Nothing may be asked with these credentials, which are good.
  if (heard.length === 0) return err({ reason: "refused", error: accessForbidden });
  const response = await settle(heard, parsed.value, services.now);
  return response.ok
    ? ok({ response: response.value, pods: asked.map(({ question }) => question.pod.id).join(",") })
    : response;
}

/**
 * No Pod granted anything, and none saw the credentials, for they are another's: that one is asked whether they are good. Else a stranger
 * with any password would hear of an assigned name that it is forbidden, and of a free one that the password is wrong.
 */
const credentialsUnseen = (asked: readonly Asked[]): boolean =>
  asked.every(({ question, answer }) => !question.withCredentials && answer.kind !== "granted");

/**
 * A Pod that was asked for more than to pull decides, the first in request order; refused pulls are left out, for clients ask for what they
 * may not need (a mount's source, a second name). When nothing is granted, the first refusal is the answer.
 */
async function settle(
  asked: readonly Asked[],
  request: TokenRequest,
  now: Date,
): Promise<Result<Response, TokenRefusal>> {
  const parts = asked.flatMap(({ answer }) => (answer.kind === "granted" ? [answer.part] : []));
  const missing = asked.filter(({ answer }) => answer.kind !== "granted");
  const refused = missing.filter(({ answer }) => answer.kind === "refused");
  const decisive =
    missing.find((each) => lacksForm(each, request)) ??
    missing.find(({ question }) => question.decides) ??
    (parts.length > 0
      ? undefined
      : (refused.find(({ question }) => question.withCredentials) ?? refused[0] ?? missing[0]));
  await Promise.all(missing.filter((each) => each !== decisive).map(discard));
  if (decisive !== undefined) return refusalOf(decisive, request);
  const incomplete = missing.some(({ answer }) => answer.kind === "unavailable");
  return ok(tokenResponse(parts, now, incomplete ? incompleteLifeSeconds : null));
}

/** A token service without POST says 404, some 405: the client then comes with GET, for all of its scopes. */
function lacksForm({ question, answer }: Asked, request: TokenRequest): boolean {
  if (answer.kind !== "refused" || !answer.answer.ok || !asksByForm(request, question)) return false;
  return answer.answer.value.status === 404 || answer.answer.value.status === 405;
}

async function refusalOf(asked: Asked, request: TokenRequest): Promise<Result<Response, TokenRefusal>> {
  const { answer } = asked;
  if (answer.kind === "granted") throw new Error("a granted part is no refusal");
  if (lacksForm(asked, request))
    return ok(new Response(null, { status: 404, headers: { "Cache-Control": "no-store" } }));
  // In the edge's words, byte for byte: a stranger must not see whether a Pod was there to be asked.
  const forbidden = answer.kind === "refused" && answer.answer.ok && [401, 403].includes(answer.answer.value.status);
  if (request.anonymous && forbidden) return err({ reason: "refused", error: accessForbidden });
  return passRefusal(answer.answer);
}

async function discard({ answer }: Asked): Promise<void> {
  if (answer.kind !== "granted" && answer.answer.ok) await answer.answer.value.body?.cancel();
}
