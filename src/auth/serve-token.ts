import type { Directory, DirectoryFailure, FetchPod, Pod } from "../directory/directory.ts";
import { resolvePod } from "../directory/resolve.ts";
import type { Misconfigured } from "../directory/secrets.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { OciError } from "../oci/errors.ts";
import { parseRepositoryName } from "../oci/repository-name.ts";
import { type Access, formatScope, writes } from "../oci/scope.ts";
import type { FetchRequest, PodFailure } from "../resilience/fetch-request.ts";
import { parseTokenAnswer, tokenResponse } from "./token-answer.ts";
import { boundedText, parseTokenRequest, type TokenRequest } from "./token-request.ts";

export type TokenRefusal =
  | { readonly reason: "refused"; readonly error: OciError }
  | DirectoryFailure
  | PodFailure
  | Misconfigured
  | { readonly reason: "bad-answer"; readonly text: string };

export type TokenServices = {
  readonly directory: Directory;
  readonly service: string;
  readonly now: Date;
  readonly fetchPod: FetchPod;
};

export type ServedToken = { readonly response: Response; readonly pod: Pod };

/** What one Pod is asked: its own scopes, and the credentials only if they may be its. */
type PodQuestion = { readonly pod: Pod; readonly scopes: readonly Access[]; readonly withCredentials: boolean };

const tokenDeadlineMs = 10_000;
const MAX_ANSWER_BYTES = 64 * 1024;

/** The token endpoint: the Pod of the write scope decides, else that of the pull scopes; a login without scopes goes to the default Pod. */
export async function serveToken(
  request: Request,
  services: TokenServices,
): Promise<Result<ServedToken, TokenRefusal>> {
  const parsed = await parseTokenRequest(request, services.service);
  if (!parsed.ok) return err({ reason: "refused", error: parsed.error });
  const question = await chooseQuestion(parsed.value, services.directory);
  if (!question.ok) return question;
  const { pod } = question.value;
  if (pod.state === "down") return err({ reason: "unreachable", text: `Pod "${pod.id}" is down` });
  const answer = await services.fetchPod(pod, tokenServiceRequest(parsed.value, question.value));
  if (!answer.ok) return answer;
  // In the edge's words, byte for byte: a stranger must not see whether a Pod was there to be asked.
  if (parsed.value.anonymous && answer.value.status === 403) return err({ reason: "refused", error: accessForbidden });
  if (answer.value.status >= 400) return ok({ response: passError(answer.value, parsed.value.method), pod });
  if (answer.value.status !== 200) {
    return err({ reason: "bad-answer", text: `token service answered ${answer.value.status}` });
  }
  const text = await boundedText(answer.value, MAX_ANSWER_BYTES);
  const jwt =
    text === null ? err(`token service's answer is longer than ${MAX_ANSWER_BYTES} bytes`) : parseTokenAnswer(text);
  if (!jwt.ok) return err({ reason: "bad-answer", text: jwt.error });
  return ok({ response: tokenResponse([{ pod: pod.id, jwt: jwt.value }], services.now), pod });
}

async function chooseQuestion(request: TokenRequest, directory: Directory): Promise<Result<PodQuestion, TokenRefusal>> {
  const settings = await directory.settings();
  if (!settings.ok) return settings;
  const { default: defaultId, credentials } = settings.value;
  const mine = (pod: Pod) => credentials === "shared" || pod.id === defaultId;
  const grouped = await groupByPod(request.scopes, directory);
  if (!grouped.ok) return grouped;
  const chosen = grouped.value.find(({ scopes }) => scopes.some(writes)) ?? grouped.value[0];
  if (chosen !== undefined) return ok({ ...chosen, withCredentials: mine(chosen.pod) });
  if (request.anonymous && request.scopes.length > 0) return err({ reason: "refused", error: accessForbidden });
  const pod = defaultId === undefined ? ok(null) : await directory.pod(defaultId);
  if (!pod.ok) return pod;
  if (pod.value !== null) return ok({ pod: pod.value, scopes: [], withCredentials: true });
  return err({ reason: "refused", error: request.anonymous ? accessForbidden : noLogin });
}

/** As GitLab's token service says it, so that an unassigned name reads as a private one. */
const accessForbidden: OciError = { code: "DENIED", message: "access forbidden", beside: { http_status: 403 } };
const noLogin: OciError = {
  code: "UNAUTHORIZED",
  message: "credentials belong to no Pod; ask for a scope of a repository that you may use",
};

/** Scopes by Pod, in request order; a name that is malformed or has no Pod is left out, as a token service leaves out what it denies. */
async function groupByPod(
  scopes: readonly Access[],
  directory: Directory,
): Promise<Result<readonly { pod: Pod; scopes: readonly Access[] }[], DirectoryFailure>> {
  const groups = new Map<string, { pod: Pod; scopes: Access[] }>();
  for (const scope of scopes) {
    const pod = await podOfScope(scope, directory);
    if (!pod.ok) return pod;
    if (pod.value === null) continue;
    const group = groups.get(pod.value.id) ?? { pod: pod.value, scopes: [] };
    group.scopes.push(scope);
    groups.set(pod.value.id, group);
  }
  return ok([...groups.values()]);
}

async function podOfScope(scope: Access, directory: Directory): Promise<Result<Pod | null, DirectoryFailure>> {
  if (scope.type === "registry") {
    const settings = await directory.settings();
    if (!settings.ok) return settings;
    return settings.value.default === undefined ? ok(null) : directory.pod(settings.value.default);
  }
  const name = parseRepositoryName(scope.name);
  if (scope.type !== "repository" || !name.ok) return ok(null);
  const resolution = await resolvePod(directory, name.value, null);
  return resolution.ok ? ok(resolution.value.pod) : resolution;
}

/** The client's request as this Pod is to see it: its own audience, its own scopes. */
function tokenServiceRequest(request: TokenRequest, { pod, scopes, withCredentials }: PodQuestion): FetchRequest {
  // Credentials of another Pod are never sent; what anyone may pull is asked anonymously.
  const asked = withCredentials ? scopes : scopes.map((scope) => ({ ...scope, actions: ["pull"] }));
  const byForm = request.method === "POST" && withCredentials;
  const own = asked.map((scope) => ["scope", formatScope(scope)] as const);
  const joined = own.length === 0 ? [] : [["scope", own.map(([, text]) => text).join(" ")] as const];
  const passed = withCredentials ? request.passed : [];
  const parameters = new URLSearchParams(
    [["service", pod.audience], ...passed, ...(byForm ? joined : own)].map(([name, value]) => [name, value]),
  );
  const headers = new Headers({ Accept: "application/json", "Accept-Encoding": "identity" });
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

/** The Pod's refusal with its body. A service without POST is a 404 to clients, which then come with GET. */
function passError(answer: Response, method: TokenRequest["method"]): Response {
  const headers = new Headers({ "Cache-Control": "no-store" });
  for (const name of ["Content-Type", "Retry-After"]) {
    const value = answer.headers.get(name);
    if (value !== null) headers.set(name, value);
  }
  if (method === "POST" && answer.status === 405) return new Response(null, { status: 404, headers });
  return new Response(answer.body, { status: answer.status, headers });
}
