import { type ChildProcess, spawn } from "node:child_process";
import { describe, expect, test, vi } from "vitest";
import { createClient } from "../support/client.ts";
import { contentOf, pushGroup, pushTagged } from "../support/group-content.ts";
import { podctl } from "../support/podctl.ts";
import { podctlProgram } from "../support/podctl-program.ts";
import { sha256 } from "../support/toy-pod.ts";
import { readStackKv, useStack } from "../support/toy-stack.ts";
import { useMoves } from "../support/use-moves.ts";

// Most tests run several commands, and starting a process for each of them takes long on a busy machine.
vi.setConfig({ testTimeout: 240_000 });
const stack = useStack();
const { env, folder } = useMoves(stack, {});

const optionsIn = (state: string) => ["--yes", "--wait", "0.2", "--state", state];
const move = (...args: readonly string[]) => podctl(["move", ...args, ...optionsIn(folder)], { env });
const moveOfOthers = (...args: readonly string[]) =>
  podctl(["move", ...args, ...optionsIn(`${folder}/others`)], { env });
const assign = (group: string, members: object) =>
  stack.current.putKv(`route/${group}`, JSON.stringify({ v: 1, revision: 1, state: "active", ...members }));
const namesOf = (group: string) => [`${group}/app`, `${group}/team/lib`];
const contentAt = (pod: "pod-a" | "pod-b", group: string) => contentOf(stack.current, pod, namesOf(group));

async function liveOf(group: string): Promise<object> {
  const text = (await readStackKv(stack.current, [`route/${group}`])).get(`route/${group}`);
  return JSON.parse(text ?? "{}") as object;
}

async function settleGroup(group: string): Promise<string> {
  await assign(group, { pod: "pod-a" });
  await pushGroup(stack.current, group);
  expect((await move(group, "--to", "pod-b")).code).toBe(0);
  return group;
}

/** Calls `act` when the move has ended and nothing is deleted yet. */
async function cleanUpWhile(group: string, act: (child: ChildProcess) => Promise<void>) {
  const child = spawn(process.execPath, [podctlProgram, "move", group, "--cleanup", ...optionsIn(folder)], {
    env: { ...process.env, CLOUDFLARE_ENV: "", ...env },
  });
  let said = "";
  const acting: Promise<unknown>[] = [];
  child.stderr.on("data", (more) => {
    said += more;
    if (acting.length === 0 && said.includes("until every edge knows it"))
      acting.push(act(child).catch((error: unknown) => error));
  });
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  expect(await Promise.all(acting)).toEqual([undefined]);
  return { code, said };
}

const stoppedWhile = (work: () => Promise<void>) => async (child: ChildProcess) => {
  child.kill("SIGSTOP");
  await work().finally(() => child.kill("SIGCONT"));
};

describe("podctl move --cleanup", () => {
  test("deletes the group at its former Pod once the new Pod is known to have all of it", async () => {
    const group = await settleGroup("cleaned");
    const kept = await contentAt("pod-b", group);
    // We give the group back to its former Pod for a moment, and push a manifest that only this Pod has. Then `--cleanup` must delete nothing.
    await assign(`${group}-other`, { pod: "pod-a" });
    const live = await liveOf(group);
    await assign(group, { pod: "pod-a" });
    await stack.current.restartEdge();
    await pushTagged(stack.current, `${group}/app`, "only-here");
    await assign(group, live);
    const refused = await move(group, "--cleanup");
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringMatching(
        /has 1 manifest at pod-a that pod-b does not have, so nothing was deleted; copy .*, and run the command again:\n {2}cleaned\/app@sha256:/,
      ),
    ]);
    expect(Object.keys(await contentAt("pod-a", group))).not.toEqual([]);
    const again = await move(group, "--back");
    expect(again.code).toBe(0);
    expect(await contentAt("pod-a", group)).toEqual(kept);
    expect((await move(group, "--to", "pod-b")).code).toBe(0);
    const cleaned = await move(group, "--cleanup");
    expect([cleaned.code, cleaned.stderr]).toEqual([0, expect.stringContaining("deleted at pod-a")]);
    expect(await contentAt("pod-a", group)).toEqual({});
    expect(await contentAt("pod-b", group)).toEqual(kept);
    expect(await liveOf(group)).toMatchObject({ pod: "pod-b" });
  });

  test("deletes nothing after a prefix below the group was assigned to the former Pod, and then goes on without it", async () => {
    const group = await settleGroup("below");
    const team = `${group}/team`;
    const { code, said } = await cleanUpWhile(
      group,
      stoppedWhile(async () => {
        expect((await podctl(["assign", team, "pod-a", "--yes"], { env })).code).toBe(0);
        await stack.current.restartEdge();
        await pushTagged(stack.current, `${team}/new`, "1");
      }),
    );
    expect([code, said]).toEqual([
      1,
      expect.stringContaining(`an assignment below "${group}" was added or removed since this command began`),
    ]);
    expect((await move(group, "--cleanup")).code).toBe(0);
    const left = await contentOf(stack.current, "pod-a", [...namesOf(group), `${team}/new`]);
    expect(new Set(Object.keys(left).map((each) => each.split(/[:@]/)[0]))).toEqual(
      new Set([`${team}/lib`, `${team}/new`]),
    );
  });

  test("deletes nothing after another operator has moved the group back and cleaned up the other Pod", async () => {
    const group = await settleGroup("returned");
    const held = await contentAt("pod-a", group);
    const { code, said } = await cleanUpWhile(
      group,
      stoppedWhile(async () => {
        const back = await moveOfOthers(group, "--to", "pod-a");
        expect([back.code, back.stderr]).toEqual([0, expect.stringContaining("pushes go to pod-a")]);
        const cleaned = await moveOfOthers(group, "--cleanup");
        expect([cleaned.code, cleaned.stderr]).toEqual([0, expect.stringContaining("deleted at pod-b")]);
      }),
    );
    expect([code, said]).toEqual([
      1,
      expect.stringContaining(`another operator has changed the assignment of "${group}"`),
    ]);
    expect([await contentAt("pod-a", group), await contentAt("pod-b", group)]).toEqual([held, {}]);
    const again = await move(group, "--cleanup");
    expect([again.code, again.stderr]).toEqual([1, `podctl: "${group}" is at Pod "pod-a", and is not being moved\n`]);
  });

  test("goes on after it was killed, and leaves what clients have deleted at the new Pod since", async () => {
    const group = await settleGroup("continued");
    const app = `${group}/app`;
    const { code } = await cleanUpWhile(group, async (child) => void child.kill("SIGKILL"));
    expect([code, await liveOf(group)]).toEqual([null, expect.objectContaining({ pod: "pod-b" })]);
    const held = await contentAt("pod-a", group);
    expect(held).toEqual(await contentAt("pod-b", group));
    await stack.current.restartEdge();
    const client = createClient(stack.current.edge);
    const token = await client.token([`repository:${app}:pull,delete`]);
    const text = held[`${app}:multi`] ?? "";
    const index = sha256(text);
    expect((await client.get(`/v2/${app}/manifests/${index}`, token, { method: "DELETE" })).status).toBe(202);
    const again = await move(group, "--cleanup");
    const { manifests } = JSON.parse(text) as { manifests: { digest: string }[] };
    const left = [index, ...manifests.map(({ digest }) => digest)].sort();
    expect([again.code, again.stderr]).toEqual([
      0,
      expect.stringContaining(
        "3 manifests left at pod-a, because pod-b lacks them or an index that names them; if they are not needed, delete them there:\n",
      ),
    ]);
    expect(again.stdout).toContain(`The move of ${group} has ended: its manifests at pod-a will be deleted.`);
    const digests = Object.keys(await contentAt("pod-a", group)).flatMap((each) => /sha256:.*/.exec(each)?.[0] ?? []);
    expect(digests.sort()).toEqual(left);
    for (const digest of left) expect(again.stderr).toContain(`  ${app}@${digest}\n`);
  });
});
