/** Opens what a move works on: KV and the edge. Also runs the checks that both Pods must pass. */
import type { Directory, Pod } from "../../directory/directory.ts";
import { podKey } from "../../directory/keys.ts";
import type { PodId } from "../../directory/pod-id.ts";
import { parseJsonObject } from "../../lib/json.ts";
import { checkDeployment } from "../doctor/check-deployment.ts";
import type { Check } from "../doctor/findings.ts";
import { CliFailure } from "../failure.ts";
import { type KvStore, readOne } from "../target/kv-store.ts";
import { loginAt, ownLogin, type User } from "../target/operator.ts";
import type { EdgeAccess, Target } from "../target/target.ts";
import { openDirectory } from "../target/traced-directory.ts";
import { orDamaged } from "../write/live-directory.ts";
import { createLimit, type Limit } from "./limit.ts";

export type MoveTarget = {
  readonly kv: KvStore;
  readonly target: Target;
  readonly access: EdgeAccess;
  readonly directory: Directory;
  readonly inTurn: Limit;
};

export async function openMoveTarget(target: Target, edge: URL | undefined): Promise<MoveTarget> {
  const kv = target.openKv();
  const { directory } = openDirectory(target, kv);
  return { kv, target, access: await target.openEdge(edge), directory, inTurn: createLimit(1) };
}

export async function readPod({ directory }: MoveTarget, id: PodId): Promise<Pod> {
  const pod = orDamaged(await directory.pod(id));
  if (pod === null) throw new CliFailure(`Pod "${id}" is not in KV; add it to the topology file and apply that first`);
  return pod;
}

/**
 * Throws a CliFailure if the Pod is `down` or `read-only`. At such a Pod, the edge refuses the group's pulls or pushes. The Pod's registry may also
 * be collecting garbage, which deletes a blob that was just copied.
 */
export async function refuseInactive(kv: KvStore, id: PodId): Promise<void> {
  const { state } = parseJsonObject((await readOne(kv, podKey(id))) ?? "") ?? {};
  if (state !== "down" && state !== "read-only") return;
  throw new CliFailure(
    `Pod "${id}" is recorded as ${state}, and a move needs it to be active; give it the state "active" and run the command again`,
  );
}

/**
 * Returns the operator's login at a Pod: that of the Pod's own variables, such as `PODCTL_USER_POD_A`, or else the general login (`PODCTL_USER`).
 * With `credentials: own`, only the default Pod and the Pod that the operator named by `--to` get the general login.
 */
export async function userAt({ access, directory }: MoveTarget, id: PodId, isNamed: boolean): Promise<User | null> {
  const settings = orDamaged(await directory.record());
  return isNamed ? (ownLogin(id) ?? access.user) : loginAt(id, access.user, settings);
}

/** Makes doctor's checks of a Pod, including those that write, because a move writes and deletes. */
export async function checkPod(
  { access, directory, target }: MoveTarget,
  id: PodId,
  user: User | null,
): Promise<readonly Check[]> {
  const { origin, probeToken } = access;
  const checks = await checkDeployment({
    directory,
    pods: [id],
    userAt: () => user,
    probeToken,
    edge: origin,
    edgeHosts: target.edgeHosts,
    write: true,
  });
  return checks.filter(({ pod }) => pod === id);
}
