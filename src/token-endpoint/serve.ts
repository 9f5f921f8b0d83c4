import type { Directory } from "../directory/directory.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { Refusal } from "../refusal.ts";
import { askPod, type CallTokenService } from "./ask-pod.ts";
import { type Asked, askPods } from "./ask-pods.ts";
import { discard, mergeTokens } from "./merge-tokens.ts";
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

/** The token endpoint: all Pods of the scopes are asked at once, each for its own scopes, and what they grant becomes one bundle. */
export async function serveToken(request: Request, ports: TokenPorts): Promise<Result<ServedToken, Refusal>> {
  const parsed = await parseTokenRequest(request, ports.config.service);
  if (!parsed.ok) return err({ reason: "refused", error: parsed.error });
  const ask: Ask = (planned) =>
    askPods(planned, (question, signal) => askPod(question, parsed.value, { ...ports, signal }));
  const plan = await planFor(parsed.value, ports.directory, ask);
  if (!plan.ok) return plan;
  const asked = await ask(plan.value.questions);
  const login = credentialsUnseen(asked) ? await planLogin(parsed.value, ports.directory) : ok([]);
  if (!login.ok) return login;
  const refusedLogin = (await ask(login.value)).filter(({ answer }) => answer.kind === "refused");
  const heard = [...asked, ...refusedLogin];
  // The credentials are good, but they may ask for none of the scopes.
  if (heard.length === 0) return err({ reason: "refused", error: accessForbidden });
  const response = await mergeTokens(heard, parsed.value, { now: ports.now, isCut: plan.value.isCut });
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
