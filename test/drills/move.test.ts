import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { createClient, createPodClient } from "../support/client.ts";
import { contentOf, pushGroup, pushReferrer, pushTagged } from "../support/group-content.ts";
import { podctl } from "../support/podctl.ts";
import { podctlProgram } from "../support/podctl-program.ts";
import { readStackKv, useStack } from "../support/toy-stack.ts";
import { useMoves } from "../support/use-moves.ts";

// Most tests run several commands, and starting a process for each of them takes long on a busy machine.
vi.setConfig({ testTimeout: 240_000 });
const stack = useStack();
const { env, folder } = useMoves(stack, { PODCTL_ACTOR: "infra@test" });

/** There is only one edge here. So a move need not wait until other edges know its phase. */
const options = ["--yes", "--wait", "0.2", "--state", folder];
const move = (...args: readonly string[]) => podctl(["move", ...args, ...options], { env });
const assign = (group: string, members: object) =>
  stack.current.putKv(`route/${group}`, JSON.stringify({ v: 1, revision: 1, state: "active", ...members }));
const namesOf = (group: string) => [`${group}/app`, `${group}/team/lib`];

async function liveOf(group: string): Promise<Live> {
  const text = (await readStackKv(stack.current, [`route/${group}`])).get(`route/${group}`);
  return JSON.parse(text ?? "{}") as Live;
}
type Live = { readonly pod: string; readonly move?: { readonly to: string; readonly phase: string } };

async function startGroup(group: string): Promise<string> {
  await assign(group, { pod: "pod-a" });
  await pushGroup(stack.current, group);
  return group;
}

async function expectEqual(group: string): Promise<void> {
  const [a, b] = [
    await contentOf(stack.current, "pod-a", namesOf(group)),
    await contentOf(stack.current, "pod-b", namesOf(group)),
  ];
  expect(b).toEqual(a);
  expect(Object.keys(a).length).toBeGreaterThan(10);
}

async function histories(): Promise<readonly { by: string; revision: number }[]> {
  const keys = Array.from({ length: 200 }, (_, index) => `history/${index + 1}`);
  const read = [...(await readStackKv(stack.current, keys.slice(0, 100))).values()];
  return read.flatMap((text) => (text === null ? [] : [JSON.parse(text) as { by: string; revision: number }]));
}

describe("podctl move", () => {
  test("a group moves with its tags, indexes, signatures and referrers, and each phase is a line of the history", async () => {
    const group = await startGroup("whole");
    stack.current.clearSeen();
    const moved = await move(group, "--to", "pod-b", "--json");
    expect([moved.code, moved.stderr]).toEqual([0, expect.stringContaining("hold the same tags")]);
    const [report] = JSON.parse(moved.stdout) as { copied: { tags: number; bytes: number } }[];
    expect(report).toMatchObject({
      prefix: group,
      from: "pod-a",
      to: "pod-b",
      phase: "settle",
      copied: { tags: 6, manifests: 8 },
    });
    await expectEqual(group);
    const methods = stack.current.seen("pod-a", "registry").filter(({ path }) => path.startsWith(`/v2/${group}/`));
    expect(methods.filter(({ method }) => method !== "GET" && method !== "HEAD")).toEqual([]);
    expect(await liveOf(group)).toMatchObject({ pod: "pod-a", move: { to: "pod-b", phase: "settle" } });
    const written = await histories();
    expect(written.slice(-3).map(({ by }) => by)).toEqual(Array(3).fill("infra@test"));
    await stack.current.restartEdge();
    stack.current.clearSeen();
    const client = createClient(stack.current.edge);
    const token = await client.token([`repository:${group}/app:pull`]);
    expect((await client.get(`/v2/${group}/app/manifests/multi`, token)).status).toBe(200);
    expect(stack.current.seen("pod-a", "registry")).toEqual([]);
  });

  test("--plan says what would be copied, and writes nothing of the group", async () => {
    const group = await startGroup("planned");
    stack.current.clearSeen();
    const before = await readStackKv(stack.current, ["directory", `route/${group}`]);
    const planned = await move(group, "--to", "pod-b", "--plan");
    expect([planned.code, planned.stdout]).toEqual([
      0,
      expect.stringMatching(
        /^planned moves from pod-a to pod-b\.\n.*2 tagged repositories, 6 tags, 8 manifests\n {2}to copy: 6 tags, 8 manifests, at most [\d,]+ bytes\n {2}no registry says .*\n$/,
      ),
    ]);
    expect(await readStackKv(stack.current, ["directory", `route/${group}`])).toEqual(before);
    const seen = [...stack.current.seen("pod-a", "registry"), ...stack.current.seen("pod-b", "registry")];
    expect(
      seen.filter(({ method, path }) => path.includes(`/${group}/`) && method !== "GET" && method !== "HEAD"),
    ).toEqual([]);
  });

  test("what changes between two rounds is copied, and what is deleted in between does not come back", {
    timeout: 120_000,
  }, async () => {
    const group = await startGroup("changing");
    const app = `${group}/app`;
    const [client, started] = [createClient(stack.current.edge), Promise.withResolvers<void>()];
    const child = spawn(
      process.execPath,
      [podctlProgram, "move", group, "--to", "pod-b", "--yes", "--wait", "10", "--state", folder],
      {
        env: { ...process.env, CLOUDFLARE_ENV: "", ...env },
      },
    );
    child.stderr.on("data", (text) => String(text).includes("round 1") && started.resolve());
    const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
    await started.promise;
    // `--wait` is 10 s, so that the following changes are made before the freeze, even on a busy machine.
    const token = await client.token([`repository:${app}:pull,push,delete`]);
    const second = (await client.get(`/v2/${app}/manifests/2`, token, { method: "HEAD" })).headers.get(
      "Docker-Content-Digest",
    );
    expect((await client.get(`/v2/${app}/manifests/${second}`, token, { method: "DELETE" })).status).toBe(202);
    const late = await pushTagged(stack.current, app, "late", "latest");
    await pushReferrer(stack.current, app, late, null);
    expect(await ended).toBe(0);
    await expectEqual(group);
    const content = await contentOf(stack.current, "pod-b", [app]);
    expect(Object.keys(content)).not.toContain(`${app}:2`);
    expect(content[`${app}:latest`]).toBe(content[`${app}:late`]);
    // The deleted manifest is not there under its digest either.
    expect(Object.keys(content)).not.toContain(`${app}:${second}`);
  });

  test("a group that has settled goes back with what was pushed and deleted since", async () => {
    const group = await startGroup("returning");
    const app = `${group}/app`;
    expect((await move(group, "--to", "pod-b")).code).toBe(0);
    await stack.current.restartEdge();
    for (const tag of ["new", "newer"]) await pushTagged(stack.current, app, tag);
    await pushTagged(stack.current, app, "other", "latest");
    const client = createClient(stack.current.edge);
    const token = await client.token([`repository:${app}:pull,push,delete`]);
    expect((await client.get(`/v2/${app}/manifests/1`, token, { method: "DELETE" })).status).toBe(202);
    const back = await move(group, "--back");
    expect([back.code, back.stderr]).toEqual([0, expect.stringContaining("pushes go to pod-a")]);
    await expectEqual(group);
    const tags = Object.keys(await contentOf(stack.current, "pod-a", [app]));
    expect(tags).toEqual(expect.arrayContaining([`${app}:new`, `${app}:newer`, `${app}:other`, `${app}:latest`]));
    expect(tags).not.toContain(`${app}:1`);
    expect(await liveOf(group)).toEqual({ v: 1, revision: expect.any(Number), pod: "pod-a", state: "active" });
  });

  test("a group whose new Pod has lost it goes back only with --overwrite, because the old Pod has the only copy", async () => {
    const group = await startGroup("lost");
    const app = `${group}/app`;
    expect((await move(group, "--to", "pod-b")).code).toBe(0);
    const held = await contentOf(stack.current, "pod-a", [app]);
    const client = createPodClient(stack.current, "pod-b");
    const token = await client.token([`repository:${app}:pull,delete`]);
    for (const name of Object.keys(held)) {
      const reference = name.slice(app.length + 1);
      if (!reference.startsWith("sha256:")) continue;
      await client.get(`/v2/${app}/manifests/${reference}`, token, { method: "DELETE" });
    }
    const back = await move(group, "--back");
    expect([back.code, back.stderr]).toEqual([
      1,
      expect.stringContaining(`"${group}" cannot go back: 1 repository with tags at pod-a and none at pod-b`),
    ]);
    expect(back.stderr).toContain(`\n  ${app}`);
    expect(await contentOf(stack.current, "pod-a", [app])).toEqual(held);
    expect((await move(group, "--back", "--overwrite")).code).toBe(0);
    expect(await contentOf(stack.current, "pod-a", [app])).toEqual({});
  });

  test("ten groups move at once, in two commands", async () => {
    const groups = Array.from({ length: 10 }, (_, index) => `many${index}`);
    for (const group of groups) {
      await assign(group, { pod: "pod-a" });
      for (const name of namesOf(group)) await pushTagged(stack.current, name, "1", "2");
    }
    const halves = [groups.slice(0, 5), groups.slice(5)];
    const moved = await Promise.all(halves.map((half) => move(...half, "--to", "pod-b")));
    expect(moved.map(({ code, stderr }) => [code, code === 0 ? "" : stderr])).toEqual([
      [0, ""],
      [0, ""],
    ]);
    for (const group of groups) {
      const [a, b] = [
        await contentOf(stack.current, "pod-a", namesOf(group)),
        await contentOf(stack.current, "pod-b", namesOf(group)),
      ];
      expect(b).toEqual(a);
      expect(Object.keys(a)).toHaveLength(6);
      expect((await liveOf(group)).move?.phase).toBe("settle");
    }
  });

  test("an interrupted write in which the steps of two moves are joined is completed once it is old", async () => {
    const [group, other] = [await startGroup("joined"), await startGroup("joining")];
    for (const each of [group, other]) expect((await move(each, "--to", "pod-b")).code).toBe(0);
    const keys = [group, other].map((each) => `route/${each}`);
    const live = await readStackKv(stack.current, ["directory", ...keys]);
    const { revision } = JSON.parse(live.get("directory") ?? "") as { revision: number };
    const former = JSON.stringify({ v: 1, former: [...live] });
    await stack.current.putKv(`history/${revision + 1}/0`, former);
    const at = new Date(Date.now() - 18_000).toISOString();
    const index = { v: 1, revision: revision + 1, at, by: "infra@test", chunks: 1 };
    await stack.current.putKv(`history/${revision + 1}`, JSON.stringify(index));
    const ended = await move(group, "--done");
    expect([ended.code, ended.stderr]).toEqual([0, expect.stringContaining("only pod-b has it now")]);
    const next = (await readStackKv(stack.current, ["directory"])).get("directory") ?? "";
    expect((JSON.parse(next) as { revision: number }).revision).toBeGreaterThan(revision);
    expect(await liveOf(group)).toMatchObject({ pod: "pod-b" });
  });
});

describe("podctl and a group that is being moved", () => {
  const since = "2026-11-26T12:00:00.000Z";
  const begun = { pod: "pod-a", move: { to: "pod-b", phase: "copy", since } };

  test("another operator does not go on with it, and does so with --take-over", async () => {
    const group = await startGroup("foreign");
    await assign(group, begun);
    const refused = await move(group, "--to", "pod-b");
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringContaining(`another operator is moving "foreign" to "pod-b" (copy since ${since})`),
    ]);
    expect(await liveOf(group)).toMatchObject(begun);
    const status = await podctl(["move", group, "--status"], { env });
    expect(status.stdout).toMatch(/^foreign is being moved from pod-a to pod-b: copy since 2026-11-26T12:00:00.000Z;/);
    expect((await move(group, "--to", "pod-b", "--take-over")).code).toBe(0);
    await expectEqual(group);
  });

  test("options that contradict each other are refused by their names, and nothing is asked or deleted", async () => {
    const group = await startGroup("contradicted");
    await assign(group, { ...begun, move: { ...begun.move, phase: "settle" } });
    const before = await readStackKv(stack.current, ["directory", `route/${group}`]);
    stack.current.clearSeen();
    const flags = ["--to", "--plan", "--status", "--back", "--done", "--cleanup"];
    const pairs = flags.flatMap((one, index) => flags.slice(index + 1).map((other) => [one, other] as const));
    for (const [one, other] of pairs.filter((pair) => pair.join() !== "--to,--plan")) {
      const args = [one, other].flatMap((flag) => (flag === "--to" ? [flag, "pod-b"] : [flag]));
      const refused = await move(group, "--take-over", ...args);
      expect([refused.code, refused.stdout]).toEqual([1, ""]);
      expect(refused.stderr).toMatch(/^error: option '--.+' cannot be used with option '--.+'\n$/);
      expect(refused.stderr).toContain(`'${one === "--to" ? "--to <pod>" : one}'`);
      expect(refused.stderr).toContain(`'${other}'`);
    }
    expect([stack.current.seen("pod-a", "registry"), stack.current.seen("pod-b", "registry")]).toEqual([[], []]);
    expect(await readStackKv(stack.current, ["directory", `route/${group}`])).toEqual(before);
  });

  test("two runs on one machine do not move it at the same time", async () => {
    const group = await startGroup("locked");
    writeFileSync(join(folder, `${group}.lock`), String(process.pid));
    const refused = await move(group, "--to", "pod-b");
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringContaining(`process ${process.pid}) is moving "locked"`),
    ]);
    // No process has this id, so the lock is one that a killed run has left behind.
    writeFileSync(join(folder, `${group}.lock`), "999999999");
    expect((await move(group, "--to", "pod-b")).code).toBe(0);
  });

  test("assign, unassign, set, rollback and --plan refuse, apply leaves it as it is, and export assigns it to its new Pod", async () => {
    const group = await startGroup("guarded");
    expect((await move(group, "--to", "pod-b")).code).toBe(0);
    const ended = `end the move with \`podctl move ${group} --done\`, or return the group with \`podctl move ${group} --back\``;
    const before = await liveOf(group);
    for (const args of [
      ["assign", group, "pod-a"],
      ["unassign", group],
      ["set", group, "delivery=stream"],
      ["move", group, "--to", "pod-b", "--plan"],
      ["rollback"],
    ]) {
      const refused = await podctl([...args, "--yes"], { env });
      expect([args[0], refused.code, refused.stderr]).toEqual([
        args[0],
        1,
        expect.stringContaining(args[0] === "rollback" ? `podctl move ${group} --back` : ended),
      ]);
    }
    const elsewhere = await move(group, "--to", "pod-a");
    expect(elsewhere.stderr).toBe(`podctl: "${group}" is being moved to "pod-b", and not to "pod-a"; ${ended}\n`);
    const applied = await podctl(["apply", "--yes"], { env });
    expect([applied.code, applied.stdout + applied.stderr]).toEqual([
      expect.any(Number),
      expect.stringContaining(`"${group}" is being moved from pod-a to pod-b (settle since`),
    ]);
    expect(await liveOf(group)).toEqual(before);
    const exported = await podctl(["export"], { env });
    expect([exported.code, exported.stdout]).toEqual([0, expect.stringMatching(/^ {2}guarded: pod-b$/m)]);
    expect(exported.stderr).toMatch(
      /^"guarded" is being moved from pod-a to pod-b \(settle since .*\), and the file assigns it to pod-b$/m,
    );
  });

  test("a tag of the target that the move would overwrite is in its way", async () => {
    const group = "crowded";
    await assign(group, { pod: "pod-b" });
    await pushTagged(stack.current, `${group}/app`, "mine");
    await assign(group, { pod: "pod-a" });
    await stack.current.restartEdge();
    await pushTagged(stack.current, `${group}/app`, "1");
    for (const args of [["--plan"], []]) {
      const refused = await move(group, "--to", "pod-b", ...args);
      expect([refused.code, refused.stdout + refused.stderr]).toEqual([
        1,
        expect.stringContaining("crowded/app:mine is only at pod-b"),
      ]);
    }
    expect(await liveOf(group)).toMatchObject({ pod: "pod-a" });
    expect(Object.keys(await contentOf(stack.current, "pod-b", [`${group}/app`]))).toContain(`${group}/app:mine`);
    expect((await move(group, "--to", "pod-b", "--overwrite")).code).toBe(0);
    const tags = Object.keys(await contentOf(stack.current, "pod-b", [`${group}/app`]));
    expect(tags.filter((name) => !name.includes("sha256:"))).toEqual([`${group}/app:1`]);
  });

  test("a move to a Pod that is not well is refused with the finding of doctor", async () => {
    const group = await startGroup("refused");
    await stack.current.setFault("pod-b", "token", { mode: "refuse" });
    const refused = await move(group, "--to", "pod-b", "--plan");
    await stack.current.setFault("pod-b", "token", { mode: "none" });
    expect([refused.code, refused.stdout]).toEqual([
      1,
      expect.stringMatching(
        /^refused cannot be moved from pod-a to pod-b until these findings are gone:\n {2}pod-b, token: .*check that the token service runs/,
      ),
    ]);
  });

  test("an image whose layer the source has lost stops the move with its name, and pushes go on", async () => {
    const group = await startGroup("broken");
    const app = `${group}/app`;
    const client = createClient(stack.current.edge);
    const token = await client.token([`repository:${app}:pull,push,delete`]);
    const text =
      Object.entries(await contentOf(stack.current, "pod-a", [app])).find(([name]) => name === `${app}:2`)?.[1] ?? "";
    const lost = (JSON.parse(text) as { layers: { digest: string }[] }).layers[0]?.digest ?? "";
    expect((await client.get(`/v2/${app}/blobs/${lost}`, token, { method: "DELETE" })).status).toBe(202);
    const stopped = await move(group, "--to", "pod-b");
    expect([stopped.code, stopped.stderr]).toEqual([
      1,
      expect.stringMatching(
        new RegExp(`"broken" cannot be copied:\\n  broken/app:2 names ${lost}, which Pod "pod-a" does not have`),
      ),
    ]);
    expect(await liveOf(group)).toMatchObject({ pod: "pod-a", move: { phase: "copy" } });
  });
});
