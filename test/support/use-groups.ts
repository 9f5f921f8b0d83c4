import type { Moving } from "../../src/directory/moves.ts";
import type { LocalPodId } from "../../src/local/pods/start-pods.ts";
import type { Stack } from "../../src/local/stack.ts";
import { createClient, createPodClient } from "./client.ts";
import { pushImage } from "./image.ts";
import { moveIn } from "./use-moves.ts";

export const podIds: readonly LocalPodId[] = ["pod-a", "pod-b"];

export function useGroups(stack: { readonly current: Stack }) {
  let groups = 0;
  const write = (group: string, members: object) =>
    stack.current.putKv(`route/${group}`, JSON.stringify({ v: 1, revision: 1, state: "active", ...members }));
  const known = new Set<string>();
  /** If the edge may know an earlier assignment of the group, restarts the edge. */
  const assign = async (group: string, members: object): Promise<void> => {
    await write(group, members);
    if (known.has(group)) await stack.current.restartEdge();
    known.add(group);
    stack.current.clearSeen();
  };
  const enter = (group: string, phase: Moving["phase"]) =>
    assign(group, { pod: "pod-a", move: moveIn(phase, "pod-b") });
  /** Makes a new group whose image `1` is at each of these Pods. The edge knows nothing of the group until it is assigned. */
  const startGroup = async (...holders: readonly LocalPodId[]) => {
    groups += 1;
    const group = `group${groups}`;
    const repository = `${group}/app`;
    let image = { digest: "", text: "", blobs: [] as readonly string[] };
    for (const pod of holders) image = await pushImage(createPodClient(stack.current, pod), repository, 1);
    return { group, repository, image };
  };
  const askedPods = () => podIds.filter((pod) => stack.current.seen(pod, "registry").length > 0);
  const deleteButNotAtPodA = async (path: string, token: string): Promise<number> => {
    await stack.current.setFault("pod-a", "registry", { mode: "status", status: 405 });
    const { status } = await createClient(stack.current.edge).get(path, token, { method: "DELETE" });
    await stack.current.setFault("pod-a", "registry", { mode: "none" });
    await stack.current.edgeSettled();
    return status;
  };
  return { write, assign, enter, startGroup, askedPods, deleteButNotAtPodA };
}
