import type { Directory } from "../directory/directory.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { Refusal } from "../refusal.ts";
import { tokenResponse } from "./answer.ts";
import { askPod, asksByForm, type CallTokenService, type PodAnswer, passRefusal } from "./ask-pod.ts";
import {
  accessForbidden,
  type Plan,
  type PodQuestion,
  planLogin,
  planQuestions,
  strangerBounds,
  userBounds,
} from "./plan.ts";
import { parseTokenRequest, type TokenRequest } from "./request.ts";

type TokenPorts = {
  readonly config: { readonly service: string };
  readonly directory: Directory;
  readonly callTokenService: CallTokenService;
  readonly now: Date;
};

/** `pod` names the Pods that were asked, for the log. */
type ServedToken = { readonly response: Response; readonly outcome: "token"; readonly pod: string };

type Asked = { readonly question: PodQuestion; readonly answer: PodAnswer };

/** If a part is missing because its Pod is down or its names were too many, clients should come back for it soon. */
const incompleteLifeSeconds = 60;

/** The token endpoint: all Pods of the scopes are asked at once, each for its own scopes, and what they grant becomes one bundle. */
export async function serveToken(request: Request, ports: TokenPorts): Promise<Result<ServedToken, Refusal>> {
  const parsed = await parseTokenRequest(request, ports.config.service);
  if (!parsed.ok) return err({ reason: "refused", error: parsed.error });
  const ask: Ask = (planned) =>
    Promise.all(
      planned.map(async (question) => ({
        question,
        answer: await askPod(question, parsed.value, ports.callTokenService),
      })),
    );
  const plan = await planFor(parsed.value, ports.directory, ask);
  if (!plan.ok) return plan;
  const asked = await ask(plan.value.questions);
  const login = credentialsUnseen(asked) ? await planLogin(parsed.value, ports.directory) : ok([]);
  if (!login.ok) return login;
  const refusedLogin = (await ask(login.value)).filter(({ answer }) => answer.kind === "refused");
  const heard = [...asked, ...refusedLogin];
  // The credentials are good, but they may ask for none of the scopes.
  if (heard.length === 0) return err({ reason: "refused", error: accessForbidden });
  const response = await settle(heard, parsed.value, { now: ports.now, isCut: plan.value.isCut });
  if (!response.ok) return response;
  return ok({
    response: response.value,
    outcome: "token",
    pod: asked.map(({ question }) => question.pod.id).join(","),
  });
}

type Ask = (planned: readonly PodQuestion[]) => Promise<readonly Asked[]>;

/** A request for very many names is a stranger's until a Pod has said that its credentials are good. */
async function planFor(request: TokenRequest, directory: Directory, ask: Ask): Promise<Result<Plan, Refusal>> {
  const plan = await planQuestions(request, directory, strangerBounds);
  if (!plan.ok || !plan.value.isCut || request.anonymous) return plan;
  const login = await planLogin(request, directory);
  const checked = login.ok ? await ask(login.value) : [];
  const isGood = checked.some(({ answer }) => answer.kind === "granted");
  await Promise.all(checked.map(discard));
  return isGood ? planQuestions(request, directory, userBounds) : plan;
}

/**
 * Whether no Pod granted anything and none saw the credentials, because they belong to another Pod. That Pod is then asked whether they are good.
 * Otherwise a stranger with any password would be told that an assigned name is forbidden, and that for a free name the password is wrong.
 */
const credentialsUnseen = (asked: readonly Asked[]): boolean =>
  asked.every(({ question, answer }) => !question.withCredentials && answer.kind !== "granted");

/**
 * The first Pod that refuses more than pull decides, in request order. Refused pulls are left out, because clients ask for what they may not need (a
 * mount's source, a second name). If nothing is granted, the first refusal is the answer.
 */
async function settle(
  asked: readonly Asked[],
  request: TokenRequest,
  { now, isCut }: { readonly now: Date; readonly isCut: boolean },
): Promise<Result<Response, Refusal>> {
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
  const incomplete = isCut || missing.some(({ answer }) => answer.kind === "unavailable");
  return ok(tokenResponse(parts, now, incomplete ? incompleteLifeSeconds : null));
}

/** A token service without POST answers 404, or 405. The client then comes back with GET for all of its scopes. */
function lacksForm({ question, answer }: Asked, request: TokenRequest): boolean {
  if (answer.kind !== "refused" || !answer.answer.ok || !asksByForm(request, question)) return false;
  return answer.answer.value.status === 404 || answer.answer.value.status === 405;
}

async function refusalOf(asked: Asked, request: TokenRequest): Promise<Result<Response, Refusal>> {
  const { answer } = asked;
  if (answer.kind === "granted") throw new Error("a granted part is not a refusal");
  if (lacksForm(asked, request)) return err({ reason: "no-form" });
  // The edge uses its own words, because a stranger must not see whether there was a Pod to ask.
  const forbidden = answer.kind === "refused" && answer.answer.ok && [401, 403].includes(answer.answer.value.status);
  if (request.anonymous && forbidden) return err({ reason: "refused", error: accessForbidden });
  return passRefusal(answer.answer);
}

async function discard({ answer }: Asked): Promise<void> {
  if (answer.kind !== "granted" && answer.answer.ok) await answer.answer.value.body?.cancel();
}
