import { describe, expect, test, vi } from "vitest";
import type { MovePhase } from "../../src/directory/moves.ts";
import { createClient } from "../support/client.ts";
import { pushGroup } from "../support/group-content.ts";
import { podctl } from "../support/podctl.ts";
import { onOneRegistry, readStackKv, useStack } from "../support/toy-stack.ts";
import { useMoves } from "../support/use-moves.ts";

// Most tests run several commands, and starting a process for each of them takes long on a busy machine.
vi.setConfig({ testTimeout: 240_000 });
const stack = useStack(onOneRegistry);
const { env, folder } = useMoves(stack, { PODCTL_ACTOR: "infra@test" });

const move = (...args: readonly string[]) =>
  podctl(["move", ...args, "--yes", "--wait", "0.2", "--state", folder], { env });
const route = (group: string) => `route/${group}`;
const assign = (group: string, members: object) =>
  stack.current.putKv(route(group), JSON.stringify({ v: 1, revision: 1, state: "active", ...members }));
const moving = (group: string, phase: MovePhase) =>
  assign(group, { pod: "pod-a", move: { to: "pod-b", phase, since: "2026-11-26T12:00:00.000Z" } });

async function liveOf(group: string) {
  const { pod, move: step } = JSON.parse((await readStackKv(stack.current, [route(group)])).get(route(group)) ?? "{}");
  return { pod, phase: step?.phase ?? null };
}

async function startGroup(group: string): Promise<string> {
  await assign(group, { pod: "pod-a" });
  await pushGroup(stack.current, group);
  stack.current.clearSeen();
  return group;
}

const askedFor = (group: string) =>
  stack.current.seen("pod-a", "registry").filter(({ path }) => path.startsWith(`/v2/${group}/`));

/** Returns what the history of the last four revisions says about this group. */
async function stepsOf(group: string): Promise<readonly (string | null)[]> {
  const { revision } = JSON.parse((await readStackKv(stack.current, ["directory"])).get("directory") ?? "{}");
  const keys = Array.from({ length: 4 }, (_, index) => `history/${revision - 3 + index}/0`);
  const texts = [...(await readStackKv(stack.current, keys)).values()];
  return texts.filter((text) => text?.includes(route(group)) === true);
}

describe("podctl move between Pods of one registry", () => {
  test("--plan says that nothing is copied, and asks the registry for nothing of the group", async () => {
    const group = await startGroup("planned");
    const planned = await move(group, "--to", "pod-b", "--plan");
    expect([planned.code, planned.stdout]).toEqual([
      0,
      "planned moves from pod-a to pod-b, which has the same registry: nothing is copied, and no push is refused.\n",
    ]);
    const asJson = await move(group, "--to", "pod-b", "--plan", "--json");
    expect(JSON.parse(asJson.stdout)).toMatchObject([{ prefix: group, plan: "one registry" }]);
    expect(askedFor(group)).toEqual([]);
    expect(await liveOf(group)).toEqual({ pod: "pod-a", phase: null });
  });

  test("the group ends at the new Pod after two phases, with all of its images, and the registry was asked for nothing of it", async () => {
    const group = await startGroup("whole");
    const moved = await move(group, "--to", "pod-b", "--json");
    expect(moved.code).toBe(0);
    expect(JSON.parse(moved.stdout)).toMatchObject([
      { prefix: group, from: "pod-a", to: "pod-b", phase: null, copied: { tags: 0, manifests: 0, bytes: 0 } },
    ]);
    const said = moved.stderr.match(/whole: (copy|freeze|switch|settle|only pod-b)/g);
    expect(said).toEqual(["whole: copy", "whole: settle", "whole: only pod-b"]);
    expect(await stepsOf(group)).toHaveLength(3);
    expect(askedFor(group)).toEqual([]);
    expect(await liveOf(group)).toEqual({ pod: "pod-b", phase: null });
    await stack.current.restartEdge();
    stack.current.clearSeen();
    const client = createClient(stack.current.edge);
    const token = await client.token([`repository:${group}/app:pull`]);
    expect(token).toMatch(/^pods\.v1\.pod-b\/[^~]+$/);
    for (const tag of ["1", "2", "multi"]) {
      expect((await client.get(`/v2/${group}/app/manifests/${tag}`, token)).status).toBe(200);
    }
    expect(stack.current.seen("pod-a", "token")).toEqual([]);
    const again = await move(group, "--to", "pod-b");
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('"whole" is at Pod "pod-b" already')]);
    const back = await move(group, "--to", "pod-a");
    expect([back.code, await liveOf(group)]).toEqual([0, { pod: "pod-a", phase: null }]);
  });

  test("the operator reads before the move that no push will be refused", async () => {
    const group = await startGroup("announced");
    const { stdout } = await move(group, "--to", "pod-b");
    expect(stdout).toBe(
      "announced will be moved to pod-b, which has the same registry: nothing is copied, and no push is refused.\n",
    );
  });

  test.each<MovePhase>(["copy", "settle"])("a move that was interrupted in %s goes on, and ends", async (phase) => {
    const group = await startGroup(`interrupted-${phase}`);
    await moving(group, phase);
    const refused = await move(group, "--to", "pod-b");
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining("another operator is moving")]);
    expect((await move(group, "--to", "pod-b", "--take-over")).code).toBe(0);
    expect(await liveOf(group)).toEqual({ pod: "pod-b", phase: null });
    expect(askedFor(group)).toEqual([]);
  });

  test.each<[MovePhase, readonly string[]]>([
    ["copy", ["only pod-a"]],
    ["settle", ["copy", "only pod-a"]],
  ])("--back from %s gives the group to its old Pod, without a copy", async (phase, steps) => {
    const group = await startGroup(`back-${phase}`);
    await moving(group, phase);
    const back = await move(group, "--back", "--take-over");
    expect(back.code).toBe(0);
    expect(back.stderr.match(/back-\w+: (copy|freeze|switch|settle|only pod-a)/g)).toEqual(
      steps.map((step) => `${group}: ${step}`),
    );
    expect(await liveOf(group)).toEqual({ pod: "pod-a", phase: null });
    expect(askedFor(group)).toEqual([]);
  });

  test("--cleanup is refused, because it would delete the group itself, and --done ends the move", async () => {
    const group = await startGroup("cleaned");
    await moving(group, "settle");
    const cleaned = await move(group, "--cleanup", "--take-over");
    expect([cleaned.code, cleaned.stderr]).toEqual([
      1,
      expect.stringContaining('have the same registry, so --cleanup would delete "cleaned" itself'),
    ]);
    expect(askedFor(group)).toEqual([]);
    expect(await liveOf(group)).toEqual({ pod: "pod-a", phase: "settle" });
    expect((await move(group, "--done", "--take-over")).code).toBe(0);
    expect(await liveOf(group)).toEqual({ pod: "pod-b", phase: null });
    expect(askedFor(group)).toEqual([]);
  });

  test("a Pod whose tokens the registry refuses gets no group", async () => {
    const group = await startGroup("unready");
    const key = "pod/pod-b";
    const text = (await readStackKv(stack.current, [key])).get(key) ?? "";
    await stack.current.putKv(key, JSON.stringify({ ...JSON.parse(text), issuer: "other" }));
    try {
      const refused = await move(group, "--to", "pod-b");
      expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('"other" is not the issuer of Pod')]);
    } finally {
      await stack.current.putKv(key, text);
    }
    expect(await liveOf(group)).toEqual({ pod: "pod-a", phase: null });
  });
});
