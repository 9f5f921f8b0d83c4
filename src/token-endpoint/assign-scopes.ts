import { MAX_PARTS } from "../auth/bundle.ts";
import type { Directory } from "../directory/directory.ts";
import type { User } from "../directory/kv-cache.ts";
import type { PodId } from "../directory/pod-id.ts";
import type { DirectoryRecord } from "../directory/records.ts";
import { assignedPods, type NameBounds, recentMs } from "../directory/resolve.ts";
import { ok, type Result } from "../lib/result.ts";
import { parseRepositoryName, type RepositoryName } from "../oci/repository-name.ts";
import { type Access, isRepository, MAX_ACTIONS } from "../oci/scope.ts";
import { createClientGate, type Visit } from "../pods/gate.ts";
import type { DirectoryFailure, Refusal } from "../refusal.ts";

export type PlanPorts = { readonly directory: Directory; readonly visit: Visit };
export type PlanBounds = NameBounds & { readonly chosenBy: "stranger" | User };

export type Scopes = {
  /** The scopes of names that this Pod serves. */
  readonly own: Access[];
  /** The scopes of names whose group is being moved to or from this Pod, while the other Pod of the move serves the group. */
  readonly moving: Access[];
};

export type Grouped = {
  readonly scopesOf: ReadonlyMap<PodId, Scopes>;
  /** The scopes of groups that this client may not use, each with the group's refusal. */
  readonly denied: readonly { readonly scope: Access; readonly refusal: Refusal }[];
  readonly isCut: boolean;
};

type Lookup = PlanPorts & {
  readonly record: DirectoryRecord;
  readonly bounds: PlanBounds;
};

/**
 * Groups the scopes by Pod, in request order, each under the name that the repository has at its Pod. A scope that is malformed or has no Pod is left
 * out, as a token service leaves out what it denies.
 */
export async function assignScopes(
  scopes: readonly Access[],
  { directory, visit, record, bounds }: Lookup,
): Promise<Result<Grouped, DirectoryFailure>> {
  const named = withOneCatalog(scopes).map((scope) => ({ scope, name: repositoryOf(scope) }));
  const names = named.flatMap(({ name }) => name ?? []);
  const pods = await assignedPods(directory, names, { assignmentMaxAgeMs: recentMs, ...bounds });
  if (!pods.ok) return pods;
  const scopesOf = new Map<PodId, Scopes>();
  const openScopes = (pod: PodId): Scopes => {
    const opened = scopesOf.get(pod) ?? { own: [], moving: [] };
    scopesOf.set(pod, opened);
    return opened;
  };
  const refuseClient = createClientGate(visit);
  const moved: { readonly scope: Access; readonly other: PodId }[] = [];
  const denied: { readonly scope: Access; readonly refusal: Refusal }[] = [];
  for (const { scope, name } of named) {
    const assigned = name === null ? undefined : pods.value.get(name);
    const { assignment = null, renamed = null, moving = null } = assigned ?? {};
    const refusal = assignment === null ? null : refuseClient(assignment);
    if (refusal !== null) {
      denied.push({ scope, refusal });
      continue;
    }
    const own = renamed === null ? scope : { ...scope, name: renamed.to };
    for (const pod of podsOf(scope, assigned?.id ?? null, record)) openScopes(pod).own.push(own);
    if (moving !== null) moved.push({ scope: own, other: moving.other });
  }
  for (const { scope, other } of moved) {
    // The move's other Pod is asked too, unless `MAX_PARTS` Pods are asked already, because the edge refuses a bundle with more parts.
    if (scopesOf.has(other) || scopesOf.size < MAX_PARTS) openScopes(other).moving.push(scope);
  }
  return ok({ scopesOf, denied, isCut: names.some((name) => !pods.value.has(name)) });
}

/** Returns the Pods that are asked for a scope. `assigned` is the Pod of the scope's repository, or null if there is no such Pod. */
function podsOf(scope: Access, assigned: PodId | null, record: DirectoryRecord): readonly PodId[] {
  if (isCatalog(scope)) return record.pods ?? [];
  if (scope.type === "registry") return record.default === undefined ? [] : [record.default];
  return assigned === null ? [] : [assigned];
}

/** Joins all scopes for the catalog into one, because every Pod is asked for each such scope. Only the first `MAX_ACTIONS` actions are kept. */
function withOneCatalog(scopes: readonly Access[]): readonly Access[] {
  const [first, ...others] = scopes.filter(isCatalog);
  if (first === undefined || others.length === 0) return scopes;
  const actions = [...new Set([first, ...others].flatMap((scope) => scope.actions))];
  return [...scopes.filter((scope) => !isCatalog(scope)), { ...first, actions: actions.slice(0, MAX_ACTIONS) }];
}

export const isCatalog = ({ type, name }: Access): boolean => type === "registry" && name === "catalog";

function repositoryOf(scope: Access): RepositoryName | null {
  const name = parseRepositoryName(scope.name);
  return isRepository(scope) && name.ok ? name.value : null;
}
