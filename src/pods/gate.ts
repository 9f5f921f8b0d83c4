import type { Renamed } from "../directory/aliases.ts";
import { type Client, fits, type ParsedCidrs } from "../directory/clients.ts";
import type { Pod } from "../directory/directory.ts";
import type { ClientRules } from "../directory/group-settings.ts";
import { type Moving, refusesWrites } from "../directory/moves.ts";
import type { AssignmentRecord } from "../directory/records.ts";
import type { Resolution } from "../directory/resolve.ts";
import type { Brand } from "../lib/brand.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { isRead } from "../oci/scope.ts";
import type { Refusal } from "../refusal.ts";

/** A Pod whose service may get this request. Only {@link passGate} and {@link passPod} make such a value, and every call to a Pod needs it. */
export type AdmittedPod = Brand<Pod, "AdmittedPod">;

export type Visit = { readonly client: Client; readonly parsedCidrs: ParsedCidrs };

/** Every request for a repository passes this gate before it reaches a registry. */
export function passGate(
  method: string,
  { pod, renamed, assignment, moving, blocked, stale }: Resolution,
  visit: Visit,
): Result<AdmittedPod, Refusal> {
  if (blocked !== null) return err({ reason: "blocked", text: blocked });
  // If our copy of the directory is outdated, writes are refused: the repository may belong to another Pod by now, and a push would be lost. A name
  // without a Pod may have one by now, so the answer is 503 instead of 404.
  if (stale !== null && (pod === null || !isRead(method))) return err({ reason: "directory", text: stale });
  const refused = assignment === null ? null : (refuseClient(assignment, visit) ?? refuseWrite(method, assignment));
  if (refused !== null) return err(refused);
  if (renamed !== null && !isRead(method)) return err(refuseRenamed(renamed, pod));
  const passed = passPod(method, pod);
  return passed.ok && moving !== null && !isRead(method) ? passMove(passed.value, moving) : passed;
}

/** The gate for token services, and for requests without a repository. It checks only the Pod's state. */
export function passPod(method: string, pod: Pod | null): Result<AdmittedPod, Refusal> {
  if (pod === null) return err({ reason: "name-unknown" });
  const { id, state, reason } = pod;
  if (state === "down") {
    return err({ reason: "down", text: reason ?? "the registry of this repository is down", pod: id });
  }
  if (state === "read-only" && !isRead(method)) {
    return err({
      reason: "read-only",
      text: reason ?? "the registry of this repository is read-only for now",
      pod: id,
    });
  }
  return ok(pod as AdmittedPod);
}

export const beingMoved = (name: string, { id }: Pod): Refusal => ({
  reason: "moving",
  text: `${name} is being moved to another registry; pushes work again in a few minutes`,
  pod: id,
});

const passMove = (pod: AdmittedPod, moving: Moving): Result<AdmittedPod, Refusal> =>
  refusesWrites(moving) ? err(beingMoved(moving.prefix, pod)) : ok(pod);

/** The returned function judges each assignment only once, because one token request of a stranger may name hundreds of repositories of one group. */
export function createClientGate(visit: Visit): (assignment: AssignmentRecord) => Refusal | null {
  const judged = new Map<AssignmentRecord, Refusal | null>();
  return (assignment) => {
    const known = judged.get(assignment);
    if (known !== undefined) return known;
    const refusal = refuseClient(assignment, visit);
    judged.set(assignment, refusal);
    return refusal;
  };
}

function refuseClient({ clients, pod }: AssignmentRecord, visit: Visit): Refusal | null {
  if (clients === undefined || admits(clients, visit)) return null;
  return { reason: "client-denied", text: denialOf(clients), pod };
}

export const denialOf = ({ reason }: ClientRules): string =>
  reason ?? "this repository may not be used from your network";

/** If the platform does not know where a client is, the client is on no list. So `allow` keeps this client out, and `deny` does not. */
function admits({ allow, deny }: ClientRules, { client, parsedCidrs }: Visit): boolean {
  const isOn = (list: NonNullable<ClientRules["allow"]>) => list.some((when) => fits(when, client, parsedCidrs));
  return (allow === undefined || isOn(allow)) && (deny === undefined || !isOn(deny));
}

const refuseRenamed = ({ from, to }: Renamed, pod: Pod | null): Refusal => ({
  reason: "renamed",
  text: `"${from}" is now "${to}"; push to that name`,
  ...(pod === null ? {} : { pod: pod.id }),
});

function refuseWrite(method: string, assignment: AssignmentRecord): Refusal | null {
  if (assignment.state !== "read-only" || isRead(method)) return null;
  const { reason: text = "this repository is read-only for now", pod } = assignment;
  return { reason: "read-only", text, pod };
}
