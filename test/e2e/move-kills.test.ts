/** Kills podctl and Pods in the middle of moves. `KILLS`, `POD_KILLS` and `POD_DOWN_SECONDS` make the drill longer: docs/moves.md has the command. */
import { spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, test } from "vitest";
import type { LocalPodId } from "../../src/local/pods/start-pods.ts";
import type { Fault } from "../../src/local/taps/faults.ts";
import { createClient } from "../support/client.ts";
import { contentOf, pushGroup, pushTagged } from "../support/group-content.ts";
import { podctl } from "../support/podctl.ts";
import { podctlProgram } from "../support/podctl-program.ts";
import { readStackKv, useStack } from "../support/toy-stack.ts";
import { useMoves } from "../support/use-moves.ts";

const countOf = (name: string, byDefault: number): number => Number(process.env[name] ?? byDefault);
const [kills, podKills, podDownMs] = [
  countOf("KILLS", 4),
  countOf("POD_KILLS", 1),
  countOf("POD_DOWN_SECONDS", 2) * 1e3,
];

const stack = useStack();
const { env, folder } = useMoves(stack, { CLOUDFLARE_ENV: "" });

const group = "drilled";
const extra = Array.from({ length: 6 }, (_, index) => `${group}/r${index}`);
const names = [`${group}/app`, `${group}/team/lib`, ...extra];
/** The digest of each tag that the drill has pushed and not deleted, by `repository:tag`. */
const truth = new Map<string, string>();
/** Delays each request, so that kills also come during requests, and not only during the waits of a move. */
const slow: Fault = { mode: "delay", ms: 15 };
const podIds = ["pod-a", "pod-b"] as const;

async function pushTo(name: string, tag: string): Promise<void> {
  const digest = await pushTagged(stack.current, name, tag, "latest");
  for (const each of [tag, "latest"]) truth.set(`${name}:${each}`, digest);
}

beforeAll(async () => {
  const record = { v: 1, revision: 1, state: "active", pod: "pod-a" };
  await stack.current.putKv(`route/${group}`, JSON.stringify(record));
  await pushGroup(stack.current, group);
  for (const name of extra) for (const tag of ["0", "1"]) await pushTo(name, tag);
  for (const pod of podIds) await stack.current.setFault(pod, "registry", slow);
});

/** At the Pod that has the group now, pushes new tags, gives the tag `latest` a new digest, and deletes a tag. */
async function change(leg: number): Promise<void> {
  await stack.current.restartEdge();
  for (const index of [leg, leg + 1]) await pushTo(extra[index % extra.length] ?? "", `leg-${leg}`);
  const gone = [...truth].find(([name, digest]) => /:\d+$/.test(name) && isOnlyTag(digest));
  if (gone === undefined) return;
  const [name, digest] = gone;
  const repository = name.split(":")[0] ?? "";
  const client = createClient(stack.current.edge);
  const token = await client.token([`repository:${repository}:pull,delete`]);
  const path = `/v2/${repository}/manifests/${digest}`;
  expect((await client.get(path, token, { method: "DELETE" })).status).toBe(202);
  truth.delete(name);
}

const isOnlyTag = (digest: string): boolean => [...truth.values()].filter((each) => each === digest).length === 1;

async function expectExact(): Promise<void> {
  const [a, b] = [await contentOf(stack.current, "pod-a", names), await contentOf(stack.current, "pod-b", names)];
  expect(b).toEqual(a);
  const tags = Object.keys(a).filter((name) => extra.includes(name.split(":")[0] ?? "") && !name.includes(":sha256:"));
  expect(tags.toSorted()).toEqual([...truth.keys()].toSorted());
  for (const [name, digest] of truth) expect(a[name]).toBe(a[`${name.split(":")[0]}:${digest}`]);
}

/** `code` is null if the run was killed. */
type Run = { readonly code: number | null; readonly said: string };
/** The longest run of podctl so far, without the start of its process. Each kill and each outage comes at a random moment within this time. */
let longestMs = 2_500;

/** When podctl first prints something, `onBegin` gets a function that kills podctl. */
async function move(args: readonly string[], onBegin: (kill: () => void) => void): Promise<Run> {
  const options = ["--yes", "--wait", "0.2", "--jobs", "2", "--state", folder];
  const child = spawn(process.execPath, [podctlProgram, "move", group, ...args, ...options], {
    env: { ...process.env, ...env },
  });
  let said = "";
  let begunMs = performance.now();
  child.stderr.once("data", () => {
    begunMs = performance.now();
    onBegin(() => child.kill("SIGKILL"));
  });
  child.stderr.on("data", (text: Buffer) => {
    said += text;
  });
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  longestMs = Math.max(longestMs, performance.now() - begunMs);
  return { code, said };
}

const wayOf = (leg: number): readonly string[] => (leg % 2 === 0 ? ["--to", "pod-b", "--overwrite"] : ["--back"]);

type Live = { readonly pod: string; readonly move?: { readonly phase: string } };

async function readLive(): Promise<Live> {
  return JSON.parse((await readStackKv(stack.current, [`route/${group}`])).get(`route/${group}`) ?? "{}") as Live;
}

async function expectSettled(leg: number): Promise<void> {
  const record = await readLive();
  const move = leg % 2 === 0 ? { to: "pod-b", phase: "settle", since: expect.any(String) } : undefined;
  expect([record.pod, record.move]).toEqual(["pod-a", move]);
  await expectExact();
}

describe("a move that is interrupted goes on where it was, and both Pods hold the same at its end", () => {
  let leg = 0;

  test("podctl is killed again and again at random points, on the way there and back", {
    timeout: 120_000 + kills * 20_000,
  }, async ({ annotate }) => {
    const places: string[] = [];
    for (; places.length < kills || leg === 0; leg += 1) {
      if (leg > 0) await change(leg);
      for (let isEnded = false; !isEnded; ) {
        const isKilled = places.length < kills;
        const run = await move(wayOf(leg), (kill) => {
          if (isKilled) setTimeout(kill, Math.random() * longestMs);
        });
        const { move: left } = await readLive();
        // If podctl was killed after the last write of `move --back`, the move has ended, and another `--back` would be refused.
        isEnded = run.code !== null || (leg % 2 === 1 && left === undefined);
        if (run.code !== null) expect([run.code, run.said]).toEqual([0, expect.any(String)]);
        else places.push(left?.phase ?? "no move");
      }
      await expectSettled(leg);
    }
    const counts = [...Map.groupBy(places, (phase) => phase)].map(([phase, all]) => `${phase} ${all.length}`);
    await annotate(`${kills} kills in ${leg} ways, by the phase that they left: ${counts.join(", ")}`);
    // The directory is whole: the next command finds no interrupted write.
    const assigned = await podctl(["assign", "elsewhere", "pod-b", "--yes"], { env });
    expect([assigned.code, assigned.stderr]).toEqual([0, ""]);
  });

  test("either Pod is down for a while at a random point", {
    timeout: 120_000 + podKills * (60_000 + podDownMs),
  }, async ({ annotate }) => {
    let runs = 0;
    for (let outage = 0; outage < podKills; outage += 1, leg += 1) {
      await change(leg);
      const pod = podIds[outage % 2] ?? "pod-a";
      let ended: Promise<void> = Promise.resolve();
      for (let code: number | null = null; code !== 0; runs += 1) {
        const isFirst = code === null;
        const run = await move(wayOf(leg), () => {
          if (isFirst) ended = sleep(Math.random() * longestMs).then(() => takeDown(pod));
        });
        // A move begins with doctor's checks of both Pods. If a Pod is down during these, the command ends, and the operator runs it again.
        expect([run.code === 0 || isFirst, run.said]).toEqual([true, expect.any(String)]);
        code = run.code;
        if (code !== 0) await ended;
      }
      await ended;
      await expectSettled(leg);
    }
    await annotate(`${podKills} outages of ${podDownMs / 1_000} s, ${runs} runs of podctl`);
  });
});

/** Takes the whole Pod down for a while, as a crash does: connections break off, and nothing listens. */
async function takeDown(pod: LocalPodId): Promise<void> {
  const services = ["registry", "token", "storage"] as const;
  for (const service of services) await stack.current.setFault(pod, service, { mode: "refuse" });
  await sleep(podDownMs);
  for (const service of services)
    await stack.current.setFault(pod, service, service === "registry" ? slow : { mode: "none" });
}
