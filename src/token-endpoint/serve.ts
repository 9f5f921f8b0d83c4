import type { Directory } from "../directory/directory.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { Refusal } from "../refusal.ts";
import { tokenResponse } from "./answer.ts";
import { askPod, asksByForm, type CallTokenService, type PodAnswer, passRefusal } from "./ask-pod.ts";
import { accessForbidden, type PodQuestion, planLogin, planQuestions } from "./plan.ts";
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

/** If a part is missing because its Pod is down, clients should come back for it soon. */
const incompleteLifeSeconds = 60;

/** The token endpoint: all Pods of the scopes are asked at once, each for its own scopes, and what they grant becomes one bundle. */
export async function serveToken(request: Request, ports: TokenPorts): Promise<Result<ServedToken, Refusal>> {
  const parsed = await parseTokenRequest(request, ports.config.service);
  if (!parsed.ok) return err({ reason: "refused", error: parsed.error });
  const questions = await planQuestions(parsed.value, ports.directory);
  if (!questions.ok) return questions;
  const ask = (planned: readonly PodQuestion[]): Promise<readonly Asked[]> =>
    Promise.all(
      planned.map(async (question) => ({
        question,
        answer: await askPod(question, parsed.value, ports.callTokenService),
      })),
    );
  const asked = await ask(questions.value);
  const login = credentialsUnseen(asked) ? await planLogin(parsed.value, ports.directory) : ok(null);
  if (!login.ok) return login;
  const heard = login.value === null ? asked : await preferLogin(await ask(login.value), asked);
  const response = await settle(heard, parsed.value, ports.now);
  if (!response.ok) return response;
  return ok({
    response: response.value,
    outcome: "token",
    pod: [...new Set([...asked, ...heard].map(({ question }) => question.pod.id))].join(","),
  });
}

/**
 * Whether no Pod granted anything and none saw the credentials, because they belong to another Pod. That Pod is then asked for a login. It answers a name
 * that it does not have in the same way: with a token for nothing, or a refusal of the credentials. Otherwise anyone who has a password, good or wrong,
 * would learn which names are assigned.
 */
const credentialsUnseen = (asked: readonly Asked[]): boolean =>
  asked.every(({ question, answer }) => !question.withCredentials && answer.kind !== "granted");

/** The login's answer, unless it is granted while a Pod of the scopes cannot be asked: the client should then come back. */
async function preferLogin(login: readonly Asked[], asked: readonly Asked[]): Promise<readonly Asked[]> {
  const isGranted = login.every(({ answer }) => answer.kind === "granted");
  const comeBack = isGranted && asked.some(({ answer }) => answer.kind === "unavailable");
  await Promise.all((comeBack ? login : asked).map(discard));
  return comeBack ? asked : login;
}

/**
 * The first Pod that refuses more than pull decides, in request order. Refused pulls are left out, because clients ask for what they may not need (a
 * mount's source, a second name). If nothing is granted, the first refusal is the answer.
 */
async function settle(asked: readonly Asked[], request: TokenRequest, now: Date): Promise<Result<Response, Refusal>> {
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
