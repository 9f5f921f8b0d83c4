import type { PodPart } from "../auth/bundle.ts";
import { subjectOf } from "../auth/verify.ts";
import type { Directory } from "../directory/directory.ts";
import type { User } from "../directory/kv-cache.ts";
import { hex, utf8 } from "../lib/bytes.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { Visit } from "../pods/gate.ts";
import { budgetSpent, type Refusal } from "../refusal.ts";
import { type Asked, askPods } from "./ask-pods.ts";
import type { PlanPorts } from "./assign-scopes.ts";
import { askWithGrace, type GracePorts, grantByEdge } from "./grace.ts";
import { discard, mergeTokens } from "./merge-tokens.ts";
import { type Plan, type PodQuestion, planLogin, planQuestions, strangerBounds, userBounds } from "./plan.ts";
import { parseTokenRequest, type TokenRequest } from "./request.ts";

type TokenPorts = Omit<GracePorts, "maxRepositories"> &
  Visit & {
    readonly config: { readonly service: string };
    readonly directory: Directory;
  };

/**
 * The edge remembers the granted pulls of at most this many repositories of one request. Each costs up to four calls of the location's cache, and
 * Workers' free plan allows 50 calls for a request. Only mirrors ask for more repositories at once.
 */
const maxRememberedRepositories = 6;

export const rememberedRepositories = (pods: number): number =>
  Math.max(1, Math.floor(maxRememberedRepositories / pods));

type ServedToken = { readonly response: Response; readonly outcome: "token"; readonly pod: string };

/** Serves the token endpoint. It asks all Pods of the scopes at once, each for its own scopes, and joins their grants into one bundle. */
export async function serveToken(request: Request, ports: TokenPorts): Promise<Result<ServedToken, Refusal>> {
  const parsed = await parseTokenRequest(request, ports.config.service);
  if (!parsed.ok) return err({ reason: "refused", error: parsed.error });
  const ask: Ask = async (planned) => {
    const own = { ...ports, maxRepositories: rememberedRepositories(planned.length) };
    const asked = await askPods(planned, {
      ask: (question, signal) => askWithGrace(question, parsed.value, { ...own, signal }),
      standIn: (question) => grantByEdge(question, parsed.value, own),
    });
    return dropUnusable(asked);
  };
  const planned = await askPlanned(parsed.value, { directory: ports.directory, visit: ports }, ask);
  if (!planned.ok) return planned;
  const { plan, asked } = planned.value;
  const login = credentialsUnseen(asked) ? await planLogin(parsed.value, ports.directory) : ok(null);
  if (!login.ok) return login;
  const heard = login.value === null ? asked : await preferLogin(await ask(login.value), asked);
  const response = await mergeTokens(heard, parsed.value, { now: ports.now, plan });
  if (!response.ok) return response;
  return ok({
    response: response.value,
    outcome: "token",
    pod: [...new Set([...asked, ...heard].map(({ question }) => question.pod.id))].join(","),
  });
}

/**
 * If no usable part was granted, drops the answers of Pods that were asked only because of a move. The client then gets the same as without the move.
 */
async function dropUnusable(asked: readonly Asked[]): Promise<readonly Asked[]> {
  if (asked.some(({ question, answer }) => question.isUsable && answer.kind === "granted")) return asked;
  await Promise.all(asked.filter(({ question }) => !question.isUsable).map(discard));
  return asked.filter(({ question }) => question.isUsable);
}

type Ask = (planned: readonly PodQuestion[]) => Promise<readonly Asked[]>;

/**
 * Plans within the bounds of a stranger, and asks the Pods of the plan. If these bounds or the strangers' budget are too small, the edge asks for a
 * login without scopes. If a Pod grants the login, the edge plans again within the bounds of a user. So users can log in even while a few strangers
 * use up the budget.
 */
async function askPlanned(request: TokenRequest, ports: PlanPorts, ask: Ask): Promise<Result<Planned, Refusal>> {
  const bounds = strangerBounds(request);
  const plan = await planQuestions(request, ports, bounds);
  const isWhole = plan.ok ? !plan.value.isCut : !isBudgetSpent(plan.error);
  if (isWhole || request.anonymous) return askAll(plan, ask);
  const login = await planQuestions({ ...request, scopes: [] }, ports, bounds);
  const checked = login.ok ? await ask(login.value.questions) : [];
  const [part] = checked.flatMap(({ answer }) => (answer.kind === "granted" ? [answer.part] : []));
  // A Pod that refuses a login would also refuse the same credentials with scopes, so this refusal is the answer. The refusal shows nothing about the
  // names, and may mean that the client must ask again with GET.
  const isRefused = checked.length > 0 && checked.every(({ answer }) => answer.kind === "refused");
  if (login.ok && isRefused) return ok({ plan: login.value, asked: checked });
  await Promise.all(checked.map(discard));
  if (part?.kind !== "pod") return askAll(plan, ask);
  return askAll(await planQuestions(request, ports, userBounds(await userOfLogin(part, request))), ask);
}

/** Returns the user whose login a Pod granted. If the Pod's token names no user, as for a GitLab deploy token, the password tells who asks. */
async function userOfLogin({ pod, jwt }: PodPart, { secret }: TokenRequest): Promise<User> {
  const user = subjectOf(jwt) ?? hex(await crypto.subtle.digest("SHA-256", utf8(secret ?? "")));
  return { pod, user };
}

type Planned = { readonly plan: Plan; readonly asked: readonly Asked[] };

const askAll = async (plan: Result<Plan, Refusal>, ask: Ask): Promise<Result<Planned, Refusal>> =>
  plan.ok ? ok({ plan: plan.value, asked: await ask(plan.value.questions) }) : plan;

const isBudgetSpent = (refusal: Refusal): boolean => refusal.reason === "directory" && refusal.text === budgetSpent;

/**
 * Whether no Pod in `asked` got the credentials, and none granted anything. The edge then asks a Pod to check the credentials by a login, as if no
 * name had a Pod. So a made-up password does not show which names are assigned.
 */
const credentialsUnseen = (asked: readonly Asked[]): boolean =>
  asked.every(({ question, answer }) => !question.withCredentials && answer.kind !== "granted");

/**
 * `login` has the answers to the client's login, and `asked` those to its scopes. If the login is granted but a Pod in `asked` was unavailable,
 * returns `asked`, so that the client gets an error and tries again. That Pod may grant its scopes by then.
 */
async function preferLogin(login: readonly Asked[], asked: readonly Asked[]): Promise<readonly Asked[]> {
  const isGranted = login.every(({ answer }) => answer.kind === "granted");
  const comeBack = isGranted && asked.some(({ answer }) => answer.kind === "unavailable");
  await Promise.all((comeBack ? login : asked).map(discard));
  return comeBack ? asked : login;
}
