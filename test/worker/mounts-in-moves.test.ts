import { describe, expect, test } from "vitest";
import type { Moving } from "../../src/directory/moves.ts";
import { createClient, createPodClient, pushBlob } from "../support/client.ts";
import { useStack } from "../support/toy-stack.ts";
import { moveIn } from "../support/use-moves.ts";

const stack = useStack({ gateways: "fleet" });
const oras = "oras/1.3.4";

async function lastLine() {
  await stack.current.edgeSettled();
  return stack.current.edgeSeen().at(-1);
}

describe("mount of a repository's own blob", () => {
  let groups = 0;
  /** Each mount gets a repository in a new group, because the edge would still remember an old group's phase. */
  let repository = "";

  /** Asks for a mount of a blob of pod-b while its group is in this phase. The blob's own repository is both source and target. */
  async function mountOwn(phase: Moving["phase"] | null): Promise<number> {
    groups += 1;
    repository = `moving${groups}/app`;
    const text = `a layer of a group that is moved: ${phase}`;
    const digest = await pushBlob(createPodClient(stack.current, "pod-b"), repository, text);
    // In every phase, pod-b is the Pod that serves the group.
    const isSwitched = phase === "switch" || phase === "settle";
    const [pod, to] = isSwitched ? ["pod-a", "pod-b"] : ["pod-b", "pod-a"];
    const members = phase === null ? { pod } : { pod, move: moveIn(phase, to) };
    const record = { v: 1, revision: 1, state: "active", ...members };
    await stack.current.putKv(`route/moving${groups}`, JSON.stringify(record));
    const client = createClient(stack.current.edge);
    const token = await client.token([`repository:${repository}:pull,push,delete`]);
    stack.current.clearSeen();
    const path = `/v2/${repository}/blobs/uploads/?mount=${digest}&from=${repository}`;
    return (await client.get(path, token, { method: "POST", headers: { "User-Agent": oras } })).status;
  }

  test.each(["copy", "settle"] as const)(
    "in the phase %s of a move, it brings the blob to the other Pod by that Pod's gateway",
    async (phase) => {
      expect(await mountOwn(phase)).toBe(201);
      expect(await lastLine()).toMatchObject({ outcome: "mounted", pod: "pod-a" });
      expect(stack.current.seen("pod-a", "gateway")).toMatchObject([
        { method: "POST", path: `/v2/${repository}/blobs/uploads/`, status: 201 },
      ]);
      expect(stack.current.seen("pod-b", "storage")).toMatchObject([{ method: "GET", authorization: "none" }]);
      expect(stack.current.seen("pod-a", "registry").map(({ method, status }) => [method, status])).toEqual([
        ["HEAD", 404],
        ["POST", 202],
        ["PATCH", 202],
        ["PUT", 201],
      ]);
      expect(stack.current.seen("pod-b", "registry").filter(({ method }) => method !== "HEAD")).toEqual([]);
    },
  );

  test.each(["freeze", "switch"] as const)(
    "in the phase %s of a move, it is refused like every push",
    async (phase) => {
      expect(await mountOwn(phase)).toBe(403);
      expect(stack.current.seen("pod-a", "gateway")).toEqual([]);
    },
  );

  test("outside of a move, its Pod's registry answers", async () => {
    expect(await mountOwn(null)).toBe(201);
    expect(await lastLine()).toMatchObject({ outcome: "forwarded", pod: "pod-b" });
    expect(stack.current.seen("pod-a", "gateway")).toEqual([]);
  });

  test("if the other Pod gave the token no right to push, its Pod's registry answers", async () => {
    await stack.current.setFault("pod-a", "token", { mode: "status", status: 403 });
    const status = await mountOwn("copy");
    await stack.current.setFault("pod-a", "token", { mode: "none" });
    expect(status).toBe(201);
    expect(await lastLine()).toMatchObject({ outcome: "forwarded", pod: "pod-b" });
    expect(stack.current.seen("pod-a", "gateway")).toEqual([]);
  });
});
