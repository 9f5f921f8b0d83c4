import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { LocalPodId } from "../../src/local/pods/start-pods.ts";
import { createClient } from "../support/client.ts";
import { useStack } from "../support/toy-stack.ts";
import { useGroups } from "../support/use-groups.ts";
import { moveIn, timeIn } from "../support/use-moves.ts";

const stack = useStack({ seedImages: false });
const { assign, enter, startGroup, askedPods, deleteButNotAtPodA } = useGroups(stack);
const client = () => createClient(stack.current.edge);
const tokenFor = (repository: string, actions: string) => client().token([`repository:${repository}:${actions}`]);

describe("phase that is announced", () => {
  const announceSeconds = 6;
  /** The returned function waits until the phase has begun. */
  async function announce(group: string, pod: LocalPodId, members: object): Promise<() => Promise<void>> {
    const since = timeIn(announceSeconds);
    await assign(group, { pod, move: { since, ...members } });
    return () => sleep(Date.parse(since) - Date.now() + 50);
  }
  const startUpload = async (repository: string, token: string) =>
    (await client().get(`/v2/${repository}/blobs/uploads/`, token, { method: "POST" })).status;
  const lastLine = async () => {
    await stack.current.edgeSettled();
    return stack.current.edgeSeen().at(-1);
  };

  test("freeze lets pushes through until it begins, and then refuses them at an edge that reads nothing from KV in between", async () => {
    const { group, repository } = await startGroup("pod-a");
    await enter(group, "copy");
    const token = await tokenFor(repository, "pull,push");
    const begun = await announce(group, "pod-a", { to: "pod-b", phase: "freeze" });
    expect(await startUpload(repository, token)).toBe(202);
    expect(askedPods()).toEqual(["pod-a"]);
    expect(await lastLine()).toMatchObject({ status: 202, pod: "pod-a" });
    await begun();
    stack.current.clearSeen();
    expect(await startUpload(repository, token)).toBe(403);
    expect(await lastLine()).toMatchObject({ status: 403, kvReads: 0 });
    expect((await client().get(`/v2/${repository}/manifests/1`, token)).status).toBe(200);
    expect(stack.current.seen("pod-a", "registry").map(({ method }) => method)).toEqual(["GET"]);
  });

  test("settle reads from the new Pod and refuses pushes until it begins, and then the new Pod takes them", async () => {
    const { group, repository } = await startGroup("pod-a", "pod-b");
    await enter(group, "copy");
    const token = await tokenFor(repository, "pull,push");
    const begun = await announce(group, "pod-a", { to: "pod-b", phase: "settle" });
    expect((await client().get(`/v2/${repository}/manifests/1`, token)).status).toBe(200);
    expect(await startUpload(repository, token)).toBe(403);
    expect(stack.current.seen("pod-b", "registry").map(({ method }) => method)).toEqual(["GET"]);
    await begun();
    expect(await startUpload(repository, token)).toBe(202);
    expect(await lastLine()).toMatchObject({ status: 202, pod: "pod-b", kvReads: 0 });
    expect(stack.current.seen("pod-a", "registry")).toEqual([]);
  });

  test("freeze of the way back leaves the group settled until it begins: digests are looked for, and deletions count at both Pods", async () => {
    const { group, repository, image } = await startGroup("pod-a");
    const settledSince = timeIn(-60);
    const begun = await announce(group, "pod-b", { to: "pod-a", phase: "freeze", settledSince });
    const token = await tokenFor(repository, "pull,push,delete");
    const path = `/v2/${repository}/manifests/${image.digest}`;
    expect((await client().get(path, token)).status).toBe(200);
    expect(await startUpload(repository, token)).toBe(202);
    expect((await lastLine())?.pod).toBe("pod-b");
    expect((await client().get(path, token, { method: "DELETE" })).status).toBe(202);
    const methods = stack.current.seen("pod-a", "registry").map(({ method, status }) => [method, status]);
    expect(methods).toEqual(expect.arrayContaining([["DELETE", 202]]));
    await begun();
    expect((await client().get(path, token)).status).toBe(404);
    expect(await startUpload(repository, token)).toBe(403);
  });

  test("a deletion that the old Pod refused while the group was settled still counts in the freeze of the way back", async () => {
    const { group, repository, image } = await startGroup("pod-a", "pod-b");
    const move = moveIn("settle", "pod-b");
    await assign(group, { pod: "pod-a", move });
    const path = `/v2/${repository}/manifests/${image.digest}`;
    const token = await tokenFor(repository, "pull,delete");
    expect(await deleteButNotAtPodA(path, token)).toBe(202);
    for (const since of [timeIn(3_600), timeIn(-1)]) {
      const back = { to: "pod-a", phase: "freeze", since, settledSince: move.since };
      const record = { v: 1, revision: 1, state: "active", pod: "pod-b", move: back };
      await stack.current.putKv(`route/${group}`, JSON.stringify(record));
      await stack.current.restartEdge("kept");
      stack.current.clearSeen();
      expect((await client().get(path, token)).status).toBe(404);
      expect(askedPods()).toEqual(["pod-b"]);
    }
  });
});
