import { spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { LocalPodId, PodKind } from "../../src/local/pods/start-pods.ts";
import { writeStackFile } from "../../src/local/stack-files.ts";
import { contentOf, push, pushGroup, pushRepositories, pushTagged } from "../support/group-content.ts";
import { readStackKv } from "../support/toy-stack.ts";
import { craneIn } from "./crane.ts";
import { startClients } from "./move-clients.ts";
import { createTraffic } from "./move-traffic.ts";
import { sharedSecrets, startSecondEdge } from "./second-edge.ts";
import { openStage, type Stage } from "./stage.ts";
import { describeWith, needs } from "./tools.ts";

const both = [...needs.registryPods, ...needs.distributionPods, "crane"];
// Each of the two tests waits most of its time, so they run side by side.
describe.concurrent("move of a group", () => {
  describeWith(both, "from docker-registry 2.8 to distribution v3", () => scenario("registry", "distribution-v3"));
  describeWith(both, "from distribution v3 to docker-registry 2.8", () => scenario("distribution-v3", "registry"));
});

const group = "moving";
/**
 * The second edge gets each change of the directory `lagSeconds` late, and its isolates may use the old assignment for 30 s more. `waitSeconds` is
 * longer than both together.
 */
const lagSeconds = Number(process.env["MOVE_LAG_SECONDS"] ?? 3);
const waitSeconds = Number(process.env["MOVE_WAIT_SECONDS"] ?? 38);
const seenEverywhereMs = Math.max(waitSeconds, lagSeconds + 35) * 1_000;
/**
 * The group has this many repositories, with this many tags in all, that no client uses during the move. In a drill by hand, MOVE_REPOSITORIES=40 and
 * MOVE_TAGS=400 make the group as large as a real one.
 */
const bulkSize = {
  repositories: Number(process.env["MOVE_REPOSITORIES"] ?? 1),
  tags: Number(process.env["MOVE_TAGS"] ?? 2),
};
/**
 * A move must refuse writes for less time than this. It waits until pushes from before the freeze have ended (two thirds of `waitSeconds`, at most
 * 60 s). Then come the last copy and the comparison (40 s on a busy machine). Then it waits until both edges know the phase `settle` (`waitSeconds`).
 * All of this must never take more than 240 s.
 */
const mostRefusedMs = Math.min(Math.min(60, (waitSeconds * 2) / 3) + waitSeconds + 40, 240) * 1_000;
const refusal = `${group} is being moved to another registry; pushes work again in a few minutes`;

function scenario(from: PodKind, to: PodKind): void {
  let stage: Stage;
  let secondEdge: Awaited<ReturnType<typeof startSecondEdge>>;
  beforeAll(async () => {
    const secrets = await sharedSecrets();
    stage = await openStage({ "pod-a": from, "pod-b": to }, secrets);
    await writeStackFile(stage.stack, `${stage.dir}/stack.json`);
    await stage.stack.putKv(`route/${group}`, JSON.stringify({ v: 1, pod: "pod-a", revision: 1, state: "active" }));
    secondEdge = await startSecondEdge(stage.stack, secrets, {
      keys: [`route/${group}`, "directory"],
      lagMs: lagSeconds * 1_000,
    });
  });
  afterAll(async () => {
    await secondEdge?.stop();
    await stage?.close();
  });

  /** As soon as podctl's output has the next text of `killedAt`, kills podctl and starts it again. */
  async function move(args: readonly string[], killedAt: readonly string[]): Promise<string> {
    const left = [...killedAt];
    let said = "";
    for (;;) {
      const options = ["--yes", "--wait", String(waitSeconds), "--state", `${stage.dir}/moves`];
      const child = spawn(process.execPath, ["src/podctl/podctl.ts", "move", group, ...args, ...options], {
        env: { ...process.env, CLOUDFLARE_ENV: "", NO_COLOR: "1", PODCTL_STACK: `${stage.dir}/stack.json` },
      });
      child.stderr.on("data", (text: Buffer) => {
        said += text;
        const [next] = left;
        if (next === undefined || !said.includes(next)) return;
        left.shift();
        child.kill("SIGKILL");
      });
      const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
      if (code !== null) {
        // vitest would cut this text short in a comparison.
        if (code !== 0) throw new Error(`podctl ended with ${code}:\n${said}`);
        return said;
      }
    }
  }

  /** The log lines of both edges about requests that a Pod did not answer. Each line says why. */
  const outages = () =>
    [...stage.stack.edgeLines(), ...secondEdge.lines()].filter((line) => line.includes('"unavailable"')).join("\n");
  const namesOf = (traffic: ReturnType<typeof createTraffic>) => [
    ...new Set([...traffic.repositories(), `${group}/app`, `${group}/real`, `${group}/team/lib`]),
  ];

  async function expectHeld(
    pod: LocalPodId,
    tags: ReadonlyMap<string, string>,
    names: readonly string[],
  ): Promise<void> {
    const content = await contentOf(stage.stack, pod, names);
    const own = Object.keys(content).filter(
      (name) => names.some((each) => name.startsWith(`${each}:`)) && !name.includes(":sha256:"),
    );
    // Each tag that the traffic pushed must have the content of its last push. The other tags were pushed before the traffic began, and are only
    // counted.
    expect(own.filter((name) => name.includes("/drill")).toSorted()).toEqual([...tags.keys()].toSorted());
    for (const [name, text] of tags) expect([name, content[name]]).toEqual([name, text]);
    expect(own.filter((name) => !name.includes("/drill"))).toHaveLength(7);
  }

  it("no pull fails and no push is lost, with two edges that differ, and podctl killed in each phase; then it goes back", {
    timeout: 600_000 + 5 * waitSeconds * 1_000 + 2 * seenEverywhereMs + bulkSize.tags * 5_000,
    concurrent: false,
  }, async ({ annotate }) => {
    const { stack } = stage;
    await pushGroup(stack, group);
    const bulk = await pushRepositories(stack, group, bulkSize);
    const before = await contentOf(stack, "pod-a", bulk);
    const edges = [stack.edge, secondEdge.url];
    const traffic = createTraffic(stack, edges, { group, refusal });
    await traffic.start();
    const crane = craneIn(stage.dir);
    // The clients unpack what they pull, so they get a real image. The layers of the other images are only texts.
    await crane("auth", "login", stage.host, "-u", "demo", "-p", "demo");
    await crane("cp", `${stage.host}/acme/hello:1`, `${stage.host}/${group}/real:1`);
    const clients = await startClients(stage.dir, { edges, image: `${group}/real:1` });
    let refusedSeconds = 0;
    let pulled: Readonly<Record<string, number>> = {};
    try {
      await move(["--to", "pod-b"], ["round 1", "freeze announced", "settle announced"]);
      // After this time, both edges know of the last change.
      await sleep(seenEverywhereMs);
      const there = await traffic.check();
      expect(there.failedPulls).toEqual([]);
      expect(there.pulls).toBeGreaterThan(200);
      expect(there.refused).toBeGreaterThan(10);
      expect(there.otherRefusals, outages()).toEqual([]);
      expect(there.refusedForMs).toBeLessThan(mostRefusedMs);
      expect((await readStackKv(stack, [`route/${group}`])).get(`route/${group}`)).toContain('"phase":"settle"');
      expect(await contentOf(stack, "pod-b", bulk)).toEqual(before);

      const pushed = there.pushes;
      await traffic.deleteOne();
      while ((await traffic.check()).pushes < pushed + 20) await sleep(500);
      await move(["--back"], ["freeze announced", "settle announced"]);
      await sleep(seenEverywhereMs);
      const back = await traffic.check();
      expect([back.failedPulls, back.otherRefusals], outages()).toEqual([[], []]);
      expect(back.refusedForMs).toBeLessThan(mostRefusedMs);
      refusedSeconds = Math.round(back.refusedForMs / 1_000);
    } finally {
      await traffic.stop();
      pulled = await clients.stop();
    }
    for (const [name, count] of Object.entries(pulled)) expect([name, count > 10]).toEqual([name, true]);
    await annotate(`pulls: ${JSON.stringify(pulled)}; pushes were refused for at most ${refusedSeconds} s`);
    expect(await contentOf(stack, "pod-a", bulk)).toEqual(before);
    await expectHeld("pod-a", traffic.tags(), namesOf(traffic));
    expect(JSON.parse((await readStackKv(stack, [`route/${group}`])).get(`route/${group}`) ?? "")).toEqual({
      v: 1,
      revision: expect.any(Number),
      pod: "pod-a",
      state: "active",
    });
  });

  it("a Pod that is down for a while delays the copy, and tags that were deleted or moved meanwhile are right", {
    timeout: 400_000,
    concurrent: false,
  }, async () => {
    const other = "delayed";
    const { stack } = stage;
    await stack.putKv(`route/${other}`, JSON.stringify({ v: 1, pod: "pod-a", revision: 1, state: "active" }));
    await pushGroup(stack, other);
    for (const pod of ["pod-a", "pod-b"] as const) {
      setTimeout(() => void stack.setFault(pod, "registry", { mode: "refuse" }), 500);
      setTimeout(() => void stack.setFault(pod, "registry", { mode: "none" }), 12_000);
    }
    const env = { ...process.env, CLOUDFLARE_ENV: "", NO_COLOR: "1", PODCTL_STACK: `${stage.dir}/stack.json` };
    const run = (...args: readonly string[]) =>
      new Promise<[number | null, string]>((resolve) => {
        const options = ["--yes", "--wait", "1", "--state", `${stage.dir}/moves`];
        const child = spawn(process.execPath, ["src/podctl/podctl.ts", "move", other, ...args, ...options], { env });
        let said = "";
        child.stderr.on("data", (text: Buffer) => {
          said += text;
        });
        child.once("close", (code) => resolve([code, said]));
      });
    await sleep(14_000);
    expect(await run("--to", "pod-b")).toEqual([0, expect.stringContaining("hold the same")]);
    const names = [`${other}/app`, `${other}/team/lib`];
    expect(await contentOf(stack, "pod-b", names)).toEqual(await contentOf(stack, "pod-a", names));
    await stack.restartEdge();
    await pushTagged(stack, `${other}/app`, "newest", "latest");
    await push(stack, `${other}/app`, "2", (await contentOf(stack, "pod-b", names))[`${other}/app:newest`] ?? "");
    expect(await run("--back")).toEqual([0, expect.stringContaining("pushes go to pod-a")]);
    expect(await contentOf(stack, "pod-a", names)).toEqual(await contentOf(stack, "pod-b", names));
    expect(await run("--to", "pod-b")).toEqual([0, expect.any(String)]);
    expect(await run("--cleanup")).toEqual([0, expect.stringMatching(/\d+ manifests deleted at pod-a/)]);
    expect(await contentOf(stack, "pod-a", names)).toEqual({});
  });
}
