import type { Token } from "../auth/bundle.ts";
import { type Grant, identify, invalidToken, issuersOf, type PodGrant } from "../auth/grant.ts";
import { renamed } from "../directory/aliases.ts";
import { defaultPod, type Pod } from "../directory/directory.ts";
import type { ChosenBy } from "../directory/kv-cache.ts";
import type { Moving } from "../directory/moves.ts";
import { lastDirectory } from "../directory/parsed-records.ts";
import type { AssignmentRecord } from "../directory/records.ts";
import { type LookupOptions, type Resolution, recentMs, resolvePod } from "../directory/resolve.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { Challenge } from "../oci/challenge.ts";
import { digestOf, hasRepository, type RegistryEndpoint, type RepositoryEndpoint } from "../oci/endpoint.ts";
import { readParameters, valuesOf } from "../oci/query.ts";
import type { RepositoryName } from "../oci/repository-name.ts";
import { type Access, isRead, requiredAccess } from "../oci/scope.ts";
import { type AdmittedPod, passGate, passPod } from "../pods/gate.ts";
import { openPin, pinParameter } from "../pods/upload-pin.ts";
import type { Refusal } from "../refusal.ts";
import type { Services } from "../services.ts";
import { grantWhileMoving } from "./move-within-registry.ts";
import { refuseBeyondName } from "./shared-registry.ts";

export type Context = {
  readonly request: Request;
  readonly origin: string;
  readonly challenger: Pick<Challenge, "realm" | "service">;
  readonly services: Services;
  /** Null if this deployment works without tokens (`AUTH=none`). */
  readonly token: Token | null;
};

/** The Pod of a request, and what the request may do there. With the default `PodGrant`, the edge may call the Pod. */
export type Authorized<G extends Grant = PodGrant> = {
  readonly pod: AdmittedPod;
  readonly grant: G;
  /** Null if the request names no repository, or if no assignment covers the repository. */
  readonly assignment: AssignmentRecord | null;
  /** Null if the group is not being moved. Null also for an upload that stays at the Pod where it began: a move does not concern it. */
  readonly moving: Moving | null;
  /** Null if the client used the repository's current name. The Pod is always asked for the current name. */
  readonly oldName: RepositoryName | null;
};

export type Asked<G extends Grant = PodGrant> = { readonly context: Context; readonly authorized: Authorized<G> };

/** `endpoint` has the repository's current name, even if the client used an old one. */
type AuthorizedEndpoint = Authorized<Grant> & { readonly endpoint: RegistryEndpoint };

/** Finds the Pod of a request and what the token allows there. It refuses what the gate (`src/pods/gate.ts`) refuses, such as a blocked name. */
export async function authorize(
  endpoint: RegistryEndpoint,
  context: Context,
): Promise<Result<AuthorizedEndpoint, Refusal>> {
  if (!hasRepository(endpoint)) return authorizeNameless(endpoint, context);
  const { token } = context;
  const chosenBy = whoChose(endpoint, context);
  // After a move, a write to the former Pod would be lost. So if KV is slow, a write waits for current values, and a read may use older ones.
  const mustBeCurrent = !isRead(endpoint.method);
  const authorized = await authorizeName(endpoint, context, { chosenBy, mustBeCurrent });
  if (authorized.ok || token === null || !mayHaveMoved(authorized.error)) return authorized;
  // The name may just have moved to the Pod that issued the token, while this isolate still remembers an older directory. So we read it again.
  const maxAges = { assignmentMaxAgeMs: recentMs, directoryMaxAgeMs: recentMs };
  return authorizeName(endpoint, context, { chosenBy, mustBeCurrent: true, ...maxAges });
}

/**
 * Returns a function that says which budget pays for the KV look-ups of this name (see {@link ChosenBy}). The first call checks the token, and later
 * calls repeat its result.
 */
function whoChose(endpoint: RepositoryEndpoint, { token, services }: Context): () => Promise<ChosenBy> {
  let chosenBy: Promise<ChosenBy> | null = null;
  const find = async (): Promise<ChosenBy> => {
    const { own: wanted } = requiredAccess(lastKnownOf(endpoint, services));
    return token === null ? "directory" : ((await issuersOf(token, wanted, services)) ?? "stranger");
  };
  return () => {
    chosenBy ??= find();
    return chosenBy;
  };
}

/**
 * Returns the endpoint with the repository's new name, if this isolate knows that the repository was renamed. A token request for the old name gets a
 * token for the new name, so the token is checked for the new name.
 */
function lastKnownOf(endpoint: RepositoryEndpoint, { directory }: Services): RepositoryEndpoint {
  const known = lastDirectory(directory.parsedRecords);
  const alias = renamed(known, endpoint.name);
  return alias === null ? endpoint : { ...endpoint, name: alias.to };
}

const mayHaveMoved = (refusal: Refusal): boolean =>
  refusal.reason === "name-unknown" || (refusal.reason === "unauthorized" && refusal.allowedElsewhere === true);

async function authorizeNameless(
  endpoint: RegistryEndpoint,
  { token, services }: Context,
): Promise<Result<AuthorizedEndpoint, Refusal>> {
  const located = token === null ? await openDefault(services) : await identify(token, services);
  if (!located.ok) return located;
  const { pod, grant } = located.value;
  const admitted = passPod(endpoint.method, pod);
  if (!admitted.ok) return admitted;
  const wide = await refuseBeyondName(endpoint, admitted.value, services);
  if (!wide.ok) return wide;
  return ok({ pod: admitted.value, grant, assignment: null, moving: null, oldName: null, endpoint });
}

async function openDefault({ directory }: Services): Promise<Result<{ pod: Pod | null; grant: Grant }, Refusal>> {
  const pod = await defaultPod(directory);
  return pod.ok ? ok({ pod: pod.value, grant: { kind: "open" } }) : pod;
}

async function authorizeName(
  endpoint: RepositoryEndpoint,
  context: Context,
  options: LookupOptions,
): Promise<Result<AuthorizedEndpoint, Refusal>> {
  const { services, token } = context;
  const located = await locate(endpoint, services, options);
  if (!located.ok) return located;
  const resolution = located.value;
  const { renamed, home = null } = resolution;
  const own = renamed === null ? endpoint : { ...endpoint, name: renamed.to };
  // For a mount, we check only its target here, not its source. If the source may not be read, `settleMount` turns the mount into a plain upload.
  const { own: wanted } = requiredAccess(own);
  const granted =
    token === null
      ? ok({ resolution, grant: { kind: "open" } as const })
      : await grantWhileMoving(token, { resolution, wanted }, services);
  if (!granted.ok) {
    const isLeft = await isLeftBehind(granted.error, { home, wanted }, context);
    return isLeft ? err({ reason: "upload-unknown" }) : granted;
  }
  const { grant, resolution: chosen } = granted.value;
  // During a move between two Pods of one registry, the token may be good only at the Pod that does not serve the group. The request then goes to
  // that Pod, and must pass the gates of both Pods: the serving Pod may be down or read-only.
  const serving = passGate(endpoint.method, resolution, services);
  const admitted = serving.ok && chosen !== resolution ? passGate(endpoint.method, chosen, services) : serving;
  if (admitted.ok) {
    const wide = await refuseBeyondName(own, admitted.value, services);
    if (!wide.ok) return wide;
    const { assignment, moving } = chosen;
    const oldName = renamed?.from ?? null;
    return ok({ pod: admitted.value, grant, assignment, moving, oldName, endpoint: own });
  }
  // The gate has refused the request. If only the Pod can check the token (`undecided`), the client may be a stranger. A stranger gets the refusal
  // for a name without a Pod, because the gate's refusal would show that the name has one.
  return grant.kind === "undecided" ? invalidToken : admitted;
}

/** Only an upload that goes on at an earlier Pod has a `home`: the Pod to which the name belongs now. */
type Located = Resolution & { readonly home?: Pod | null };

/**
 * Whether an upload goes on at an earlier Pod, while the token is good only at `home`, the name's Pod now. A 401 would end docker's push, because
 * docker's next token would also be good only at `home`. At a 404, docker begins a new upload (moby, `retryOnError`), which goes to `home`.
 */
async function isLeftBehind(
  refusal: Refusal,
  { home, wanted }: { readonly home: Pod | null; readonly wanted: Access },
  { token, services }: Context,
): Promise<boolean> {
  const isGood = refusal.reason === "unauthorized" && refusal.error === "insufficient_scope";
  if (!isGood || home === null || token === null) return false;
  return (await issuersOf(token, wanted, services))?.issuers.includes(home.id) === true;
}

/**
 * Finds the Pod of a request. A pin in an upload's URL names the Pod where the upload began. The upload goes on at that Pod's registry, even if the
 * group has moved since.
 */
async function locate(
  endpoint: RepositoryEndpoint,
  { directory, config, now }: Services,
  options: LookupOptions,
): Promise<Result<Located, Refusal>> {
  const resolution = await resolvePod(directory, { name: endpoint.name, digest: digestOf(endpoint), ...options });
  if (!resolution.ok || endpoint.kind !== "upload") return resolution;
  const [pin, ...others] = valuesOf(readParameters(endpoint.query), pinParameter);
  if (pin === undefined) return resolution;
  const pinned = { repository: endpoint.name, upload: endpoint.upload };
  const id = await openPin(others.length === 0 ? pin : "", pinned, { edgeKeys: config.edgeKeys, now });
  if (id === null) return err({ reason: "upload-unknown" });
  const found = await directory.findPod(id, options);
  if (!found.ok) return found;
  const { pod } = found.value;
  // The Pod was removed, after its groups had moved to other Pods. The client must begin a new upload, which goes to the group's current Pod.
  if (pod === null) return err({ reason: "upload-unknown" });
  const current = resolution.value;
  const stale = current.stale ?? found.value.stale;
  const isOther = pod.id !== current.pod?.id;
  // If the old and the current Pod share a registry, the upload goes on at the current Pod: the old one may no longer give tokens for the group.
  if (isOther && pod.registry === current.pod?.registry) return ok({ ...current, stale });
  return ok({ ...current, pod, moving: null, stale, home: isOther ? current.pod : null });
}
