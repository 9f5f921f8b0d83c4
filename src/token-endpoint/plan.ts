import { MAX_PARTS } from "../auth/bundle.ts";
import { allPods, type Directory, defaultPod, type Pod } from "../directory/directory.ts";
import type { PodId } from "../directory/pod-id.ts";
import { lookAhead, recentMs, resolvePod } from "../directory/resolve.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { OciError } from "../oci/errors.ts";
import { parseRepositoryName, type RepositoryName } from "../oci/repository-name.ts";
import { type Access, isRepository, writes } from "../oci/scope.ts";
import type { DirectoryFailure, Refusal } from "../refusal.ts";
import type { TokenRequest } from "./request.ts";
import { cellOf } from "./routable-token.ts";

/**
 * What one Pod is asked: its own scopes, with the client's credentials only if they may belong to it. `decides`: it is asked for more than pull, so its
 * refusal is the answer.
 */
export type PodQuestion = {
  readonly pod: Pod;
  readonly scopes: readonly Access[];
  readonly withCredentials: boolean;
  readonly decides: boolean;
};

type Group = { readonly pod: Pod; readonly scopes: readonly Access[] };

const MAX_PODS = 5;

/** In the words of GitLab's token service, so that an unassigned name looks like a private one. */
export const accessForbidden: OciError = { code: "DENIED", message: "access forbidden", members: { http_status: 403 } };
const noLogin: OciError = {
  code: "UNAUTHORIZED",
  message:
    "this registry cannot tell whose credentials these are; log in with a token of your GitLab, or pull a repository directly",
};

/** Which Pods to ask for what, in the order of the request. Without a scope that has a Pod it is a login: one question without scopes. */
export async function planQuestions(
  request: TokenRequest,
  directory: Directory,
): Promise<Result<readonly PodQuestion[], Refusal>> {
  const record = await directory.record();
  if (!record.ok) return record;
  const owner = await ownerOf(request, directory);
  if (!owner.ok) return owner;
  const groups = await groupByPod(request.scopes, directory);
  if (!groups.ok) return groups;
  if (groups.value.length === 0) return planLogin(request, directory);
  const most = request.scopes.some(isCatalog) ? MAX_PARTS : MAX_PODS;
  if (groups.value.length > most) {
    const message = `scopes belong to ${groups.value.length} registries; want at most ${most} in one token`;
    return err({ reason: "refused", error: { code: "UNSUPPORTED", status: 400, message } });
  }
  const belongs = (pod: Pod) =>
    owner.value === null
      ? record.value.credentials === "shared" || pod.id === record.value.default
      : pod.id === owner.value;
  return ok(groups.value.flatMap((group) => question(group, request.anonymous || belongs(group.pod))));
}

/** A Pod never gets another Pod's credentials. It is asked anonymously, which can only be for pull. */
function question({ pod, scopes }: Group, withCredentials: boolean): readonly PodQuestion[] {
  if (withCredentials) return [{ pod, scopes, withCredentials, decides: scopes.some(writes) }];
  const pulls = scopes.flatMap((scope) => (isRepository(scope) ? { ...scope, actions: ["pull"] } : []));
  return pulls.length === 0 ? [] : [{ pod, scopes: pulls, withCredentials, decides: false }];
}

/** One question without scopes, to the Pod that the credentials belong to: whether they are good. */
export async function planLogin(
  request: TokenRequest,
  directory: Directory,
): Promise<Result<readonly PodQuestion[], Refusal>> {
  if (request.anonymous && request.scopes.length > 0) return err({ reason: "refused", error: accessForbidden });
  const owner = await ownerOf(request, directory);
  if (!owner.ok) return owner;
  const pod = owner.value === null ? await defaultPod(directory) : await directory.pod(owner.value);
  if (!pod.ok) return pod;
  if (pod.value === null) return err({ reason: "refused", error: request.anonymous ? accessForbidden : noLogin });
  return ok([{ pod: pod.value, scopes: [], withCredentials: true, decides: true }]);
}

/** The Pod that a routable credential names by its cell; null if it names no cell, or one that is not known here. */
async function ownerOf(
  { secret }: TokenRequest,
  directory: Directory,
): Promise<Result<PodId | null, DirectoryFailure>> {
  const cell = secret === null ? null : cellOf(secret);
  return cell === null ? ok(null) : directory.podOfCell(cell);
}

/** Scopes by Pod, in request order. A malformed scope and one without a Pod are left out, as a token service leaves out what it denies. */
async function groupByPod(
  scopes: readonly Access[],
  directory: Directory,
): Promise<Result<readonly Group[], DirectoryFailure>> {
  const groups = new Map<PodId, { pod: Pod; scopes: Access[] }>();
  await lookAhead(
    directory,
    scopes.flatMap((scope) => repositoryOf(scope) ?? []),
    recentMs,
  );
  // They are resolved one after the other, because the first one reads a Pod's record for all.
  for (const scope of scopes) {
    const pods = await podsOfScope(scope, directory);
    if (!pods.ok) return pods;
    for (const pod of pods.value) {
      const group = groups.get(pod.id) ?? { pod, scopes: [] };
      group.scopes.push(scope);
      groups.set(pod.id, group);
    }
  }
  return ok([...groups.values()]);
}

const isCatalog = ({ type, name }: Access): boolean => type === "registry" && name === "catalog";

async function podsOfScope(scope: Access, directory: Directory): Promise<Result<readonly Pod[], DirectoryFailure>> {
  if (isCatalog(scope)) return allPods(directory);
  if (scope.type === "registry") {
    const pod = await defaultPod(directory);
    return pod.ok ? ok(pod.value === null ? [] : [pod.value]) : pod;
  }
  const name = repositoryOf(scope);
  if (name === null) return ok([]);
  const resolution = await resolvePod(directory, { name, assignmentMaxAgeMs: recentMs });
  return resolution.ok ? ok(resolution.value.pod === null ? [] : [resolution.value.pod]) : resolution;
}

function repositoryOf(scope: Access): RepositoryName | null {
  const name = parseRepositoryName(scope.name);
  return isRepository(scope) && name.ok ? name.value : null;
}
