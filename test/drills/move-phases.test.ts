import { type ChildProcess, spawn } from "node:child_process";
import { describe, expect, test, vi } from "vitest";
import { createClient, createPodClient, pushBlob, sha256 } from "../support/client.ts";
import { contentOf, pushGroup, pushTagged } from "../support/group-content.ts";
import { manifestType } from "../support/image.ts";
import { podctl } from "../support/podctl.ts";
import { readStackKv, useStack } from "../support/toy-stack.ts";
import { timeIn, useMoves } from "../support/use-moves.ts";

// Most tests run several commands, and starting a process for each of them takes long on a busy machine.
vi.setConfig({ testTimeout: 240_000 });
const stack = useStack();
const { env, folder } = useMoves(stack, {});

const options = ["--yes", "--wait", "0.2", "--state", folder];
const move = (...args: readonly string[]) => podctl(["move", ...args, ...options], { env });
const assign = (group: string, members: object) =>
  stack.current.putKv(`route/${group}`, JSON.stringify({ v: 1, revision: 1, state: "active", ...members }));

type Live = {
  readonly pod: string;
  readonly move?: { readonly phase: string; readonly since: string };
};

async function liveOf(group: string): Promise<Live> {
  const text = (await readStackKv(stack.current, [`route/${group}`])).get(`route/${group}`);
  return JSON.parse(text ?? "{}") as Live;
}

async function startGroup(group: string): Promise<string> {
  await assign(group, { pod: "pod-a" });
  await pushGroup(stack.current, group);
  return group;
}

async function expectEqual(group: string): Promise<void> {
  const names = [`${group}/app`, `${group}/team/lib`];
  const a = await contentOf(stack.current, "pod-a", names);
  expect(await contentOf(stack.current, "pod-b", names)).toEqual(a);
  expect(Object.keys(a).length).toBeGreaterThan(10);
}

/** Kills podctl when it announces a phase, 8 s before the phase begins. */
async function moveUntil(text: string, ...args: readonly string[]): Promise<void> {
  const { code, said } = await moveWhile(text, (child) => child.kill("SIGKILL"), ...args);
  expect([code, said]).toEqual([null, expect.stringContaining(text)]);
}

async function moveWhile(text: string, act: (child: ChildProcess) => void, ...args: readonly string[]) {
  const child = spawn(process.execPath, ["src/podctl/podctl.ts", "move", ...args, ...unhurried], {
    env: { ...process.env, CLOUDFLARE_ENV: "", ...env },
  });
  let said = "";
  child.stderr.on("data", (more) => {
    const before = said;
    said += more;
    if (said.includes(text) && !before.includes(text)) act(child);
  });
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, said };
}
const unhurried = ["--yes", "--wait", "8", "--state", folder];

describe("podctl move and its announced phases:", () => {
  test.each([
    ["copy", "has begun", -60],
    ["freeze", "is announced", 60],
    ["freeze", "has begun", -60],
  ])("a group whose phase %s %s goes back at once, because settle is not announced yet", async (phase, _, seconds) => {
    const group = await startGroup("doubtful");
    await assign(group, { pod: "pod-a", move: { to: "pod-b", phase, since: timeIn(seconds) } });
    const args = ["move", group, "--back", "--take-over", "--yes", "--wait", "90", "--state", folder];
    const back = await podctl(args, { env });
    expect([back.code, back.stderr]).toEqual([0, expect.stringMatching(/^\S+ doubtful: pod-a serves it as before\n$/)]);
    expect(await liveOf(group)).toMatchObject({ pod: "pod-a" });
    expect((await liveOf(group)).move).toBeUndefined();
  });

  test("a run that is killed between the announcement of a phase and its begin goes on, on the way there and back", async () => {
    const group = await startGroup("killed");
    const advice = "killed: if topology.yaml assigns it to pod-b, assign it to pod-a there before the next apply\n";
    for (const [args, last] of [
      [["--to", "pod-b"], "killed: pushes go to pod-b\n"],
      [["--back"], `killed: pushes go to pod-a\n${advice}`],
    ] as const) {
      await moveUntil("freeze announced", group, ...args);
      const frozen = await liveOf(group);
      expect(frozen.move).toMatchObject({ phase: "freeze" });
      expect(Date.parse(frozen.move?.since ?? "")).toBeGreaterThan(Date.now());
      await moveUntil("settle announced", group, ...args);
      const settling = await liveOf(group);
      expect(settling.move).toMatchObject({ phase: "settle" });
      const begins = Date.parse(settling.move?.since ?? "");
      expect(begins).toBeGreaterThan(Date.now());
      // With `--wait 8`, podctl announces `settle` 8 s before it begins. Before that, podctl waits two thirds of 8 s in the freeze, so that pushes
      // under way can end.
      expect(begins - 8_000).toBeGreaterThan(Date.parse(frozen.move?.since ?? "") + 5_300);
      const status = await podctl(["move", group, "--status"], { env });
      expect(status.stdout).toContain(`: settle begins at ${settling.move?.since};`);
      const ended = await move(group, ...args);
      expect([ended.code, ended.stderr]).toEqual([0, expect.not.stringContaining("announced")]);
      expect(ended.stderr.endsWith(last)).toBe(true);
      expect(Date.now()).toBeGreaterThanOrEqual(begins);
    }
    await expectEqual(group);
    expect(await liveOf(group)).toEqual({ v: 1, revision: expect.any(Number), pod: "pod-a", state: "active" });
  });

  test("--back waits for a settle that is announced, and --done too, because edges begin it by themselves", async () => {
    const group = await startGroup("hasty");
    await moveUntil("settle announced", group, "--to", "pod-b");
    const back = await move(group, "--back");
    expect([back.code, back.stderr]).toEqual([
      0,
      expect.stringMatching(/^\S+ hasty: waiting \d s until pod-b takes pushes\n\S+ hasty: round 1 copied 0/),
    ]);
    expect(await liveOf(group)).toMatchObject({ pod: "pod-a" });
    await moveUntil("settle announced", group, "--to", "pod-b");
    const done = await move(group, "--done");
    expect([done.code, done.stderr]).toEqual([
      0,
      expect.stringMatching(/^\S+ hasty: waiting \d s until pushes go to pod-b\n\S+ hasty: only pod-b has it now\n$/),
    ]);
    await expectEqual(group);
  });

  test("if the Pods differ, the group is settled again since the time that it was, and the way back can be tried again", async () => {
    const group = await startGroup("differing");
    expect((await move(group, "--to", "pod-b")).code).toBe(0);
    await stack.current.restartEdge();
    const app = `${group}/app`;
    const broken = await pushTagged(stack.current, app, "broken");
    const content = await contentOf(stack.current, "pod-b", [app]);
    const lost = (JSON.parse(content[`${app}:broken`] ?? "") as { layers: { digest: string }[] }).layers[0]?.digest;
    const client = createClient(stack.current.edge);
    const token = await client.token([`repository:${app}:pull,delete`]);
    const remove = async (path: string) => (await client.get(`/v2/${app}/${path}`, token, { method: "DELETE" })).status;
    expect(await remove(`blobs/${lost}`)).toBe(202);
    const settled = (await liveOf(group)).move;
    const freeze = { to: "pod-a", phase: "freeze", since: timeIn(-60), settledSince: settled?.since };
    await assign(group, { pod: "pod-b", move: freeze });
    const failed = await move(group, "--back", "--take-over");
    expect([failed.code, failed.stderr]).toEqual([1, expect.stringContaining("so pushes go to pod-b again")]);
    const left = await liveOf(group);
    expect([left.pod, left.move]).toEqual(["pod-a", settled]);
    await stack.current.restartEdge();
    expect(await remove(`manifests/${broken}`)).toBe(202);
    expect((await move(group, "--back")).code).toBe(0);
    await expectEqual(group);
  });

  test.each(["first", "second"])(
    "a layer that was deleted during settle and pushed again goes back with the %s try of --back, and one that stayed deleted keeps no group away",
    async (which) => {
      const group = await startGroup(`mended-${which}`);
      const app = `${group}/app`;
      expect((await move(group, "--to", "pod-b")).code).toBe(0);
      if (which === "second") expect((await move(group, "--back", "--max-freeze", "0.01")).code).toBe(1);
      await stack.current.restartEdge();
      const [client, old] = [createClient(stack.current.edge), createPodClient(stack.current, "pod-a")];
      const scopes = [`repository:${app}:pull,push,delete`];
      const [token, oldToken] = [await client.token(scopes), await old.token(scopes)];
      const layers = await Promise.all(["1", "2"].map((tag) => sha256(new Uint8Array(Buffer.from(`layer ${tag}`)))));
      const statuses = async (method: string, at: typeof client, by: string) =>
        Promise.all(layers.map(async (each) => (await at.get(`/v2/${app}/blobs/${each}`, by, { method })).status));
      expect(await statuses("DELETE", client, token)).toEqual([202, 202]);
      expect(await statuses("HEAD", old, oldToken)).toEqual([404, 404]);
      await pushTagged(stack.current, app, "1");
      expect(await move(group, "--back")).toMatchObject({
        code: 0,
        stderr: expect.stringContaining("pushes go to pod-a"),
      });
      expect(await statuses("HEAD", old, oldToken)).toEqual([307, 404]);
    },
  );

  test("a group that changes faster than rounds end is moved with all of its pushes", async () => {
    const group = await startGroup("busy");
    const app = `${group}/app`;
    const text = (await contentOf(stack.current, "pod-a", [app]))[`${app}:1`] ?? "";
    const client = createClient(stack.current.edge);
    const token = await client.token([`repository:${app}:pull,push`]);
    const headers = { "Content-Type": manifestType };
    const [pushed, ending] = [[] as string[], new AbortController()];
    const pushAlong = async (pusher: number): Promise<void> => {
      for (let count = 0; !ending.signal.aborted; count += 1) {
        const tag = `${pusher}-${count}`;
        const init = { method: "PUT", body: text, headers };
        expect((await client.get(`/v2/${app}/manifests/${tag}`, token, init)).status).toBe(201);
        pushed.push(`${app}:${tag}`);
      }
    };
    const pushing = Array.from({ length: 6 }, (_, pusher) => pushAlong(pusher));
    // The freeze begins 8 s after its announcement. But the edge may use the assignment from before the announcement for longer than 8 s, and would
    // then still accept pushes. So the test itself stops the pushes.
    await moveUntil("freeze announced", group, "--to", "pod-b").finally(() => ending.abort());
    await Promise.all(pushing);
    const moved = await move(group, "--to", "pod-b");
    expect([moved.code, moved.stderr]).toEqual([0, expect.stringContaining("hold the same")]);
    expect(pushed.length).toBeGreaterThan(100);
    const [a, b] = [await contentOf(stack.current, "pod-a", [app]), await contentOf(stack.current, "pod-b", [app])];
    expect(Object.keys(b).toSorted()).toEqual(Object.keys(a).toSorted());
    expect(pushed.filter((name) => b[name] !== text)).toEqual([]);
  });

  test("a push that ends at the old Pod after the last copy has begun is found by the comparison, and copied", async () => {
    const group = await startGroup("late");
    const app = `${group}/app`;
    const text = (await contentOf(stack.current, "pod-a", [app]))[`${app}:1`] ?? "";
    const client = createPodClient(stack.current, "pod-a");
    const token = await client.token([`repository:${app}:pull,push`]);
    const init = { method: "PUT", body: text, headers: { "Content-Type": manifestType } };
    const pushed: number[] = [];
    const push = () =>
      void client.get(`/v2/${app}/manifests/late`, token, init).then(({ status }) => pushed.push(status));
    const { code } = await moveWhile("until pushes that are under way", push, group, "--to", "pod-b");
    expect([code, pushed]).toEqual([0, [201]]);
    await expectEqual(group);
    expect((await contentOf(stack.current, "pod-b", [app]))[`${app}:late`]).toBe(text);
  });

  test("a blob that cannot be copied during the freeze ends the command, and pushes go to the old Pod again", async () => {
    const group = await startGroup("uncopied");
    const app = `${group}/app`;
    const layer = await pushBlob(createPodClient(stack.current, "pod-a"), app, "a layer of 23 bytes, ok");
    const text = (await contentOf(stack.current, "pod-a", [app]))[`${app}:1`] ?? "";
    const manifest = JSON.parse(text) as { layers: { digest: string; size: number }[] };
    const wrong = JSON.stringify({ ...manifest, layers: [{ ...manifest.layers[0], digest: layer, size: 24 }] });
    const client = createPodClient(stack.current, "pod-a");
    const token = await client.token([`repository:${app}:pull,push,delete`]);
    const put = (tag: string, body: string, to = client, bearer = token) =>
      to.get(`/v2/${app}/manifests/${tag}`, bearer, {
        ...{ method: "PUT", body },
        headers: { "Content-Type": manifestType },
      });
    const pushed: Promise<Response>[] = [];
    const { code, said } = await moveWhile(
      "freeze announced",
      () => pushed.push(put("wrong", wrong)),
      ...[group, "--to", "pod-b"],
    );
    expect((await Promise.all(pushed)).map(({ status }) => status)).toEqual([201]);
    const why = 'at Pod "pod-a" the answer has 23 bytes, and the manifest says 24';
    expect([code, said]).toEqual([
      1,
      expect.stringContaining(`blob ${layer} of "${app}:wrong" cannot be copied: ${why}`),
    ]);
    expect(await liveOf(group)).toMatchObject({ pod: "pod-a", move: { to: "pod-b", phase: "copy" } });
    await stack.current.restartEdge();
    const edge = createClient(stack.current.edge);
    expect((await put("2", text, edge, await edge.token([`repository:${app}:pull,push`]))).status).toBe(201);
    const deleted = await client.get(`/v2/${app}/manifests/wrong`, token, { method: "DELETE" });
    expect(deleted.status).toBe(202);
    expect((await move(group, "--to", "pod-b")).code).toBe(0);
    await expectEqual(group);
  });

  test("an assignment below the group that is made during the move ends the command, and no push to it is lost", async () => {
    const group = await startGroup("deeper");
    const sub = `${group}/sub`;
    const assignDeeper = async () => {
      await assign(sub, { pod: "pod-b" });
      const client = createPodClient(stack.current, "pod-b");
      const digest = await pushBlob(client, `${sub}/app`, "{}");
      const part = { mediaType: "application/vnd.oci.image.config.v1+json", digest, size: 2 };
      const body = JSON.stringify({ schemaVersion: 2, mediaType: manifestType, config: part, layers: [part] });
      const token = await client.token([`repository:${sub}/app:pull,push`]);
      const init = { method: "PUT", body, headers: { "Content-Type": manifestType } };
      expect((await client.get(`/v2/${sub}/app/manifests/pushed`, token, init)).status).toBe(201);
    };
    const done: Promise<void>[] = [];
    const { code, said } = await moveWhile(
      "freeze announced",
      () => done.push(assignDeeper()),
      ...[group, "--to", "pod-b"],
    );
    await Promise.all(done);
    expect([code, said]).toEqual([
      1,
      expect.stringContaining(`an assignment below "${group}" was added or removed since this command began`),
    ]);
    expect((await liveOf(group)).move).toMatchObject({ phase: "copy" });
    const refusals = [
      ["assign", `${group}/more`, "pod-b"],
      ["unassign", sub],
    ].map((args) => podctl([...args, "--yes"], { env }));
    const below = (name: string) =>
      `"${name}" is below "${group}", which is being moved; wait until that move has ended`;
    expect((await Promise.all(refusals)).map(({ code: each, stderr }) => [each, stderr])).toEqual([
      [1, expect.stringContaining(below(`${group}/more`))],
      [1, expect.stringContaining(below(sub))],
    ]);
    const applied = await podctl(["apply", "--yes"], { env });
    expect(applied.stdout + applied.stderr).toContain(`"${sub}" is below "${group}", which is being moved and stays`);
    expect((await move(group, "--to", "pod-b")).code).toBe(0);
    await expectEqual(group);
    const held = await contentOf(stack.current, "pod-b", [`${sub}/app`]);
    expect(Object.keys(held)).toContain(`${sub}/app:pushed`);
  });

  test("a freeze that takes too long ends the command, and pushes go to the old Pod again", async () => {
    const group = await startGroup("slow");
    const slow = () => void stack.current.setFault("pod-b", "registry", { mode: "hang" });
    const begun = Date.now();
    const { code, said } = await moveWhile("freeze announced", slow, group, "--to", "pod-b", "--max-freeze", "12");
    await stack.current.setFault("pod-b", "registry", { mode: "none" });
    expect([code, said]).toEqual([
      1,
      expect.stringContaining(
        `"${group}" could not be copied and compared in 12 s of freeze, so pushes go to pod-a again`,
      ),
    ]);
    // The freeze begins 8 s after its announcement, and `--max-freeze` ends it after 12 s. Without this limit, podctl would call the hanging registry
    // again and again for ten minutes.
    expect(Date.now() - begun).toBeLessThan(60_000);
    expect(await liveOf(group)).toMatchObject({ pod: "pod-a", move: { to: "pod-b", phase: "copy" } });
    expect((await move(group, "--to", "pod-b")).code).toBe(0);
    await expectEqual(group);
  });

  test("a run that is stopped while another operator takes the group back writes nothing when it goes on", async () => {
    const group = await startGroup("stopped");
    const others = ["--yes", "--wait", "0.2", "--state", `${folder}/others`];
    const back: ReturnType<typeof podctl>[] = [];
    const { code, said } = await moveWhile(
      "until pushes that are under way",
      (child) => {
        child.kill("SIGSTOP");
        const returning = podctl(["move", group, "--back", "--take-over", ...others], { env });
        back.push(returning);
        void returning.finally(() => child.kill("SIGCONT"));
      },
      ...[group, "--to", "pod-b"],
    );
    expect((await Promise.all(back)).map((each) => each.code)).toEqual([0]);
    expect([code, said]).toEqual([
      1,
      expect.stringContaining(`another operator has changed the assignment of "${group}"`),
    ]);
    expect(said).not.toContain("settle announced");
    const live = await liveOf(group);
    expect([live.pod, live.move]).toEqual(["pod-a", undefined]);
  });

  test("a clock that is not the edge's is refused before anything is written, also if the move has begun", async () => {
    const group = await startGroup("untimely");
    const ahead = (seconds: number) => ({
      ...env,
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(
        `globalThis.Date = class extends Date {
          constructor(...args) { args.length === 0 ? super(Date.now()) : super(...args); }
          static now() { return super.now() + ${seconds * 1_000}; }
        }`,
      )}`,
    });
    const phases = [
      {},
      ...["copy", "freeze", "settle"].map((phase) => ({ move: { to: "pod-b", phase, since: timeIn(-60) } })),
    ];
    for (const members of phases) {
      await assign(group, { pod: "pod-a", ...members });
      const before = await liveOf(group);
      for (const [seconds, said] of [
        [60, "ahead of"],
        [-60, "behind"],
      ] as const) {
        const args = ["move", group, "--to", "pod-b", "--take-over", ...options];
        const refused = await podctl(args, { env: ahead(seconds) });
        expect([refused.code, refused.stderr]).toEqual([
          1,
          expect.stringMatching(`the clock of this machine is \\d+ s ${said} that of the edge`),
        ]);
        expect(await liveOf(group)).toEqual(before);
      }
    }
    const back = await podctl(["move", group, "--back", "--take-over", ...options], { env: ahead(60) });
    expect([back.code, back.stderr]).toEqual([1, expect.stringContaining("set the clock by NTP")]);
    const lost = await move(group, "--back", "--take-over", "--edge", "http://127.0.0.1:9");
    expect([lost.code, lost.stderr]).toEqual([
      1,
      expect.stringContaining("cannot be compared with that of the edge (http://127.0.0.1:9: the connection failed)"),
    ]);
    const done = await podctl(["move", group, "--done", "--take-over", ...options], { env: ahead(60) });
    expect([done.code, done.stderr]).toEqual([1, expect.stringContaining("set the clock by NTP")]);
    expect(await liveOf(group)).toMatchObject({ pod: "pod-a", move: { phase: "settle" } });
    // When podctl gives a move up, it announces no phase, so its wrong clock does not matter.
    await assign(group, { pod: "pod-a", move: { to: "pod-b", phase: "copy", since: timeIn(-60) } });
    const givenUp = await podctl(["move", group, "--back", "--take-over", ...options], { env: ahead(60) });
    expect([givenUp.code, (await liveOf(group)).move]).toEqual([0, undefined]);
  });
});
