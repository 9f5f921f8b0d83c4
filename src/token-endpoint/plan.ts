import { MAX_PARTS } from "../auth/bundle.ts";
import { type Directory, directoryFailure, type Pod } from "../directory/directory.ts";
import type { User } from "../directory/kv-cache.ts";
import type { PodId } from "../directory/pod-id.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { OciError } from "../oci/errors.ts";
import { type Access, isRepository, writes } from "../oci/scope.ts";
import type { DirectoryFailure, Refusal } from "../refusal.ts";
import {
  assignScopes,
  type Grouped,
  isCatalog,
  type PlanBounds,
  type PlanPorts,
  type Scopes,
} from "./assign-scopes.ts";
import type { TokenRequest } from "./request.ts";
import { cellOf } from "./routable-token.ts";

/** What one Pod is asked. During a move, both Pods are asked for the scopes of the group. */
export type PodQuestion = {
  readonly pod: Pod;
  readonly scopes: readonly Access[];
  readonly withCredentials: boolean;
  /** True for a login, and if the Pod serves a name for which more than pull is asked. The Pod's refusal is then the answer for the client. */
  readonly decides: boolean;
  /** False if the Pod is asked only because of a move between registries. Its token is useless without the token of the Pod that serves the group. */
  readonly isUsable: boolean;
};

export type Plan = {
  readonly questions: readonly PodQuestion[];
  /** True if scopes were left out, because their names would cost more look-ups than this client may cause. */
  readonly isCut: boolean;
  /** True if all Pods have the same users, and the credentials name no Pod. Then every Pod that is asked gets the credentials. */
  readonly isShared: boolean;
};

type Group = { readonly pod: Pod } & Readonly<Scopes>;

const MAX_PODS = 5;
/**
 * The bounds of a request without credentials, enough for a dozen names of three components. These bounds do not depend on what this isolate knows,
 * because the answer would otherwise show a stranger which private names are in use.
 */
const anonymousBounds: PlanBounds = { chosenBy: "stranger", maxKeys: 40 };
/**
 * The bounds of a request whose credentials no Pod has checked. Such a request reads at most 100 keys of KV: `maxReadKeys` of them for its names, and
 * the rest for other records, mostly those of Pods. The bounds are enough for a dozen names of three components that this isolate does not know. They
 * are also enough for a hundred names of four components that this isolate has read from KV in the last 30 seconds.
 */
const uncheckedBounds: PlanBounds = { chosenBy: "stranger", maxNewKeys: 40, maxReadKeys: 70, maxKeys: 400 };
export const strangerBounds = ({ anonymous }: Pick<TokenRequest, "anonymous">): PlanBounds =>
  anonymous ? anonymousBounds : uncheckedBounds;
/** A name costs one key for each of its components, so 1,000 keys are enough for 200 names of five components. */
export const userBounds = (user: User): PlanBounds => ({ chosenBy: user, maxKeys: 1_000 });

/** Uses the words of GitLab's token service, so that an unassigned name looks like a private one. */
export const accessForbidden: OciError = { code: "DENIED", message: "access forbidden", members: { http_status: 403 } };
const noLogin: OciError = {
  code: "UNAUTHORIZED",
  message:
    "this registry cannot tell whose credentials these are; log in with a token of your GitLab, or pull a repository directly",
};

/** Decides which Pods are asked for which scopes, in the order of the request. If no scope has a Pod, one Pod is asked for a login (`planLogin`). */
export async function planQuestions(
  request: TokenRequest,
  { directory, visit }: PlanPorts,
  bounds: PlanBounds,
): Promise<Result<Plan, Refusal>> {
  const record = await directory.record();
  if (!record.ok) return record;
  const owner = await ownerOf(request, directory);
  if (!owner.ok) return owner;
  const assigned = await assignScopes(request.scopes, { directory, visit, record: record.value, bounds });
  if (!assigned.ok) return assigned;
  const { scopesOf, denied, isCut } = assigned.value;
  // A scope in `denied` is left out. But if it asks for more than pull, or if no other scope has a Pod, the whole request is refused.
  const [first] = denied;
  const refused = denied.find(({ scope }) => writes(scope)) ?? (scopesOf.size === 0 ? first : undefined);
  if (refused !== undefined) return err(refused.refusal);
  const isShared = owner.value === null && record.value.credentials === "shared";
  const most = request.scopes.some(isCatalog) ? MAX_PARTS : MAX_PODS;
  const serving = [...scopesOf.values()].filter(({ own }) => own.length > 0).length;
  if (serving > most) {
    const message = `scopes belong to ${serving} registries; want at most ${most} in one token`;
    return err({ reason: "refused", error: { code: "UNSUPPORTED", status: 400, message } });
  }
  const found = await findPods(scopesOf, directory);
  if (!found.ok) return found;
  const groups = found.value;
  if (groups.length === 0) {
    const login = await planLogin(request, directory);
    return login.ok ? ok({ questions: login.value, isCut, isShared }) : login;
  }
  const getsCredentials = ({ id }: Pod) =>
    request.anonymous || isShared || id === (owner.value ?? record.value.default);
  return ok({ questions: questionsOf(groups, getsCredentials), isCut, isShared });
}

function questionsOf(groups: readonly Group[], getsCredentials: (pod: Pod) => boolean): readonly PodQuestion[] {
  const asked = groups.map((group) => (getsCredentials(group.pod) ? group : pullsOf(group)));
  // During a move within one registry, the token of either Pod is enough for a client.
  const servingRegistries = new Set(asked.filter(({ own }) => own.length > 0).map(({ pod }) => pod.registry));
  const questions = asked.map(({ pod, own, moving }) => ({
    pod,
    scopes: [...own, ...moving],
    withCredentials: getsCredentials(pod),
    decides: own.some(writes),
    isUsable: servingRegistries.has(pod.registry),
  }));
  return questions.filter(({ scopes }) => scopes.length > 0);
}

/** A Pod never gets another Pod's credentials. Instead, the Pod is asked without credentials, and only for pull. */
function pullsOf({ pod, own, moving }: Group): Group {
  const pulls = (scopes: readonly Access[]) =>
    scopes.filter(isRepository).map((scope) => ({ ...scope, actions: ["pull"] }));
  return { pod, own: pulls(own), moving: pulls(moving) };
}

/** A login has no scopes. Its only question is for the Pod to which the credentials belong: are they good? */
export async function planLogin(
  request: TokenRequest,
  directory: Directory,
): Promise<Result<readonly PodQuestion[], Refusal>> {
  if (request.anonymous && request.scopes.length > 0) return err({ reason: "refused", error: accessForbidden });
  const owner = await ownerOf(request, directory);
  if (!owner.ok) return owner;
  const pod = owner.value === null ? await loginPod(directory) : await directory.pod(owner.value);
  if (!pod.ok) return pod;
  if (pod.value === null) return err({ reason: "refused", error: request.anonymous ? accessForbidden : noLogin });
  return ok([{ pod: pod.value, scopes: [], withCredentials: true, decides: true, isUsable: true }]);
}

/**
 * Returns the Pod that checks credentials without a known GitLab cell. This is the default Pod, or else the first Pod if all Pods have the same
 * users. Credentials are checked even if the name has no Pod. Otherwise a stranger with a made-up password could tell names without a Pod from names
 * that have one.
 */
async function loginPod(directory: Directory): Promise<Result<Pod | null, DirectoryFailure>> {
  const record = await directory.record();
  if (!record.ok) return record;
  const { default: fallback, credentials, pods: [first] = [] } = record.value;
  const id = fallback ?? (credentials === "shared" ? first : undefined);
  return id === undefined ? ok(null) : directory.pod(id);
}

/** Returns the Pod that a routable credential names by its cell. Null if the credential names no cell, or a cell that the directory does not know. */
async function ownerOf(
  { secret }: TokenRequest,
  directory: Directory,
): Promise<Result<PodId | null, DirectoryFailure>> {
  const cell = secret === null ? null : cellOf(secret);
  return cell === null ? ok(null) : directory.podOfCell(cell);
}

async function findPods(
  scopesOf: Grouped["scopesOf"],
  directory: Directory,
): Promise<Result<readonly Group[], DirectoryFailure>> {
  const groups: Group[] = [];
  for (const [id, scopes] of scopesOf) {
    const pod = await directory.pod(id);
    // If the Pod is asked only because of a move, the client can do without its part.
    if (!pod.ok && scopes.own.length === 0) continue;
    if (!pod.ok) return pod;
    if (pod.value !== null) groups.push({ pod: pod.value, ...scopes });
    else if (scopes.own.some(isRepository)) {
      return directoryFailure(`an assignment names Pod "${id}", which has no record`);
    }
  }
  return ok(groups);
}
