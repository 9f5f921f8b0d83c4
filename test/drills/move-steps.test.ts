import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { MovePhase } from "../../src/directory/moves.ts";
import type { PodId } from "../../src/directory/pod-id.ts";
import type { Prefix } from "../../src/oci/repository-name.ts";
import { CliFailure } from "../../src/podctl/failure.ts";
import type { GroupCopy } from "../../src/podctl/move/copy-group.ts";
import { nothingCopied } from "../../src/podctl/move/copy-manifest.ts";
import { createLimit } from "../../src/podctl/move/limit.ts";
import { readAssignment } from "../../src/podctl/move/live-assignment.ts";
import { endSettled, giveUp, runMove } from "../../src/podctl/move/run-move.ts";
import { openStateFile } from "../../src/podctl/move/state-file.ts";
import { announce, type MovePorts, stepOf, type Way } from "../../src/podctl/move/steps.ts";
import { type KvStore, openKvStore } from "../../src/podctl/target/kv-store.ts";
import { account, apiToken, namespace, startCloudflareKv } from "../support/cloudflare-kv.ts";
import { timeIn } from "../support/use-moves.ts";

vi.setConfig({ testTimeout: 40_000 });

const folder = mkdtempSync(join(tmpdir(), "registry-edge-steps-"));
afterAll(() => rmSync(folder, { recursive: true }));

const prefix = "acme" as Prefix;
const way: Way = { from: "pod-a" as PodId, to: "pod-b" as PodId, way: "there" };
const waitMs = 8_000;
let folders = 0;

/** Each group has a KV of its own. The state file says that this folder's podctl wrote the phase. */
async function startGroup(move: { readonly since: string }) {
  const server = await startCloudflareKv();
  const kv = openKvStore({ baseUrl: server.baseUrl, token: apiToken, account, namespace });
  const assign = (members: object) =>
    kv.write([["route/acme", JSON.stringify({ v: 1, revision: 1, pod: "pod-a", state: "active", ...members })]]);
  await kv.write([["directory", JSON.stringify({ v: 1, depth: 1, revision: 1 })]]);
  await assign({ move });
  /** `written` has each phase that was written to KV, and how long after this write the phase begins. */
  const steps = { onWrite: () => {}, answerAfterMs: [] as number[], written: [] as [string | undefined, number][] };
  const watched: KvStore = {
    ...kv,
    write: async (entries, notAfter) => {
      const text = entries.find(([key]) => key === "route/acme")?.[1];
      if (text !== undefined) steps.onWrite();
      await kv.write(entries, notAfter);
      if (text === undefined) return;
      const { move: step } = JSON.parse(text) as { move?: { phase: string; since: string } };
      steps.written.push([step?.phase, Date.parse(step?.since ?? "") - Date.now()]);
      await sleep(steps.answerAfterMs.shift() ?? 0);
    },
  };
  folders += 1;
  const own = join(folder, String(folders));
  const earlier = await openStateFile(own, prefix);
  await earlier.write({ v: 1, ...way, since: move.since });
  await earlier.release();
  const ports: MovePorts = {
    kv: watched,
    prefix,
    without: [],
    way,
    state: await openStateFile(own, prefix),
    waitMs,
    maxFreezeMs: 900_000,
    say: () => {},
    inTurn: createLimit(1),
    checkClock: async () => {},
  };
  return { server, ports, steps, assign, live: () => readAssignment(kv, prefix) };
}

const inPhase = (phase: MovePhase) => ({ to: "pod-b", phase, since: timeIn(-3_600) });
const phases: MovePhase[] = ["freeze", "settle"];
/**
 * The longest time that the write of a phase to KV may take. podctl sets the phase to begin in `waitMs`, and only then writes it. So after the write,
 * at least `waitMs` minus this time is left.
 */
const mostLateMs = 5_000;

describe.concurrent("phase that is announced while KV is slow", () => {
  test.each(phases)(
    "%s gets a new time if the KV API asks to wait, and KV never gets the first time",
    async (phase) => {
      const { server, ports, steps, live } = await startGroup(inPhase("copy"));
      steps.onWrite = () => {
        steps.onWrite = () => {};
        server.limit(1, 6);
      };
      await announce(ports, { live: await live(), step: stepOf(way, phase) });
      expect(steps.written).toEqual([[phase, expect.any(Number)]]);
      expect(steps.written[0]?.[1]).toBeGreaterThan(waitMs - mostLateMs);
      await server.stop();
    },
  );

  test.each(phases)("%s is announced again for later if KV takes long for the write", async (phase) => {
    const { server, ports, steps, live } = await startGroup(inPhase("copy"));
    // podctl counts a write as made only when KV has answered, so this late answer makes the write late.
    steps.answerAfterMs = [5_500];
    const announced = await announce(ports, { live: await live(), step: stepOf(way, phase) });
    expect(steps.written).toEqual([
      [phase, expect.any(Number)],
      [phase, expect.any(Number)],
    ]);
    expect(announced.record?.move?.since).toBe((await live()).record?.move?.since);
    expect(Date.parse(announced.record?.move?.since ?? "") - Date.now()).toBeGreaterThan(waitMs - mostLateMs);
    await server.stop();
  });

  test("settle leaves the freeze if the clocks cannot be compared, because nothing is announced yet", async () => {
    const { server, ports, live } = await startGroup(inPhase("freeze"));
    let isAnswering = false;
    const checkClock = async () => {
      if (isAnswering) return;
      isAnswering = true;
      throw new CliFailure("the edge does not answer");
    };
    const announcing = announce({ ...ports, checkClock }, { live: await live(), step: stepOf(way, "settle") });
    await expect(announcing).rejects.toThrow("the edge does not answer");
    expect((await live()).record?.move).toMatchObject({ to: "pod-b", phase: "copy" });
    await server.stop();
  });

  test.each([
    ["freeze", { phase: "copy" }, ["freeze", "freeze", "freeze", "copy"]],
    ["settle", { phase: "settle" }, ["settle", "settle", "settle"]],
  ] as const)(
    "%s ends the command after three tries with what to do, in the phase %j",
    async (phase, left, written) => {
      const { server, ports, steps, live } = await startGroup(inPhase("copy"));
      steps.answerAfterMs = [5_500, 5_500, 5_500];
      await expect(announce(ports, { live: await live(), step: stepOf(way, phase) })).rejects.toThrow(
        'KV takes longer than 5 s to write the phase of "acme", so the phase could begin before every edge knows it; run the command again when KV answers quickly',
      );
      expect(steps.written.map(([each]) => each)).toEqual(written);
      expect((await live()).record?.move).toMatchObject(left);
      await server.stop();
    },
  );
});

test("a run that cannot end a freeze because KV fails says that pushes may still be refused", async () => {
  const frozen = 'the KV API cannot be reached; pushes to "acme" may still be refused; run the command again soon';
  for (const differences of [[], ["acme/app:1 differs"]]) {
    const { server, ports, live } = await startGroup(inPhase("freeze"));
    let isFailing = false;
    const copy: GroupCopy = {
      copied: nothingCopied(),
      round: async () => ({ changes: 0, problems: [] }),
      compare: async () => {
        isFailing = true;
        return differences;
      },
    };
    const read: KvStore["read"] = (keys) => {
      if (isFailing) throw new CliFailure("the KV API cannot be reached");
      return ports.kv.read(keys);
    };
    const running = runMove({ ...ports, kv: { ...ports.kv, read } }, { live: await live(), copy });
    await expect(running).rejects.toThrow(frozen);
    expect((await live()).record?.move).toMatchObject({ phase: "freeze" });
    await server.stop();
  }
});

describe("run that was stopped while another operator changed the assignment", () => {
  const changed = 'another operator has changed the assignment of "acme"; `podctl move acme --status` shows it';
  /** In each round, `change` is called and the clock is set a minute ahead, as if podctl had been stopped meanwhile. */
  const copyWhile = (change: () => Promise<void>) => {
    const seen = { copied: 0, compared: 0 };
    const copy: GroupCopy = {
      copied: nothingCopied(),
      round: async (mayWrite) => {
        await mayWrite();
        await change();
        vi.setSystemTime(Date.now() + 60_000);
        await mayWrite();
        seen.copied += 1;
        return { changes: 0, problems: [] };
      },
      compare: async () => {
        seen.compared += 1;
        return [];
      },
    };
    return { copy, seen };
  };
  beforeEach(() => void vi.useFakeTimers({ toFake: ["Date"] }));
  afterEach(() => void vi.useRealTimers());

  test.each<[string, object]>([
    ["has ended the move", {}],
    ["goes on with the move", { move: { to: "pod-b", phase: "settle", since: timeIn(-60) } }],
    ["moves the group back", { pod: "pod-b", move: { to: "pod-a", phase: "freeze", since: timeIn(60) } }],
  ])("it copies no more, and writes nothing, if that operator %s", async (_, members) => {
    for (const phase of ["copy", "freeze"] as const) {
      const { server, ports, steps, assign, live } = await startGroup(inPhase(phase));
      const { copy, seen } = copyWhile(() => assign(members));
      const first = await live();
      await expect(runMove(ports, { live: first, copy })).rejects.toThrow(changed);
      expect(seen).toEqual({ copied: 0, compared: 0 });
      expect(steps.written).toEqual([]);
      expect((await live()).record).toEqual({ v: 1, revision: 1, pod: "pod-a", state: "active", ...members });
      await server.stop();
    }
  });

  test("it neither gives the move up nor ends it, nor begins one that has begun", async () => {
    const { server, ports, steps, assign, live } = await startGroup(inPhase("copy"));
    const former = await live();
    await assign({ move: inPhase("settle") });
    await expect(giveUp(ports, former)).rejects.toThrow(changed);
    const settled = await live();
    await assign({ pod: "pod-b", move: { to: "pod-a", phase: "freeze", since: timeIn(60) } });
    await expect(endSettled(ports, settled)).rejects.toThrow(changed);
    const { copy } = copyWhile(async () => {});
    await expect(runMove(ports, { live: { record: null, pod: way.from }, copy })).rejects.toThrow(changed);
    expect(steps.written).toEqual([]);
    await server.stop();
  });

  test("it sees that another operator has taken the move over in the phase copy, because copy is written again", async () => {
    const { server, ports, steps, live } = await startGroup(inPhase("copy"));
    const former = await live();
    const others = { ...ports, state: await openStateFile(join(folder, "others"), prefix) };
    let isCopied = false;
    const copy: GroupCopy = {
      copied: nothingCopied(),
      round: async (mayWrite) => {
        await mayWrite();
        isCopied = true;
        throw new CliFailure("the other operator's podctl ends here");
      },
      compare: async () => [],
    };
    await expect(runMove(others, { live: former, copy })).rejects.toThrow("ends here");
    expect([isCopied, steps.written.map(([phase]) => phase)]).toEqual([true, ["copy"]]);
    const own = { live: former, copy: copyWhile(async () => {}).copy };
    await expect(runMove(ports, own)).rejects.toThrow(changed);
    await server.stop();
  });

  test("its next step keeps settings that were given to the group meanwhile", async () => {
    const { server, ports, assign, live } = await startGroup(inPhase("copy"));
    const former = await live();
    await assign({ move: former.record?.move, delivery: "stream" });
    await giveUp(ports, former);
    expect((await live()).record).toMatchObject({ pod: "pod-a", delivery: "stream" });
    await server.stop();
  });
});
