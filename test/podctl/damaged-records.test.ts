import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { applyPlan } from "../../src/podctl/write/apply-plan.ts";
import { makePlan } from "../../src/podctl/write/make-plan.ts";
import { planLines } from "../../src/podctl/write/plan-text.ts";
import { rollBack } from "../../src/podctl/write/roll-back.ts";
import { accountEnv, podctl } from "../support/podctl.ts";
import { podText, topologyOf, topologyText } from "../support/topologies.ts";
import { useCloudflareKv } from "../support/use-cloudflare-kv.ts";

const { server, kv } = await useCloudflareKv();

const before = topologyOf(
  topologyText(
    ["pod-a", "pod-b"],
    "assignments: {acme: pod-a, globex: pod-b}",
    "default: pod-b",
    "blocks: {acme/bad: no}",
  ),
);
const after = topologyOf(
  topologyText(["pod-a", "pod-c"], "assignments: {acme: pod-c, initech: pod-c}", "default: pod-a"),
);
const apply = async (topology: typeof before) => applyPlan(kv, await makePlan(kv, topology));

const timeless = (text: string) => text.replaceAll(/"(appliedAt|at)":"[^"]*"/g, '"$1":""');
const records = () =>
  new Map(
    [...server.data]
      .filter(([key]) => !key.startsWith("history/"))
      .map(([key, { value }]) => [key, timeless(value)] as const)
      .sort(([one], [other]) => (one < other ? -1 : 1)),
  );

describe("a record that someone damaged by hand", () => {
  const damage = (key: string, value: string) => server.data.set(key, { value, metadata: undefined });

  test("is written again by the next apply, whatever its kind, except the directory record and the blocks", async () => {
    await apply(before);
    const whole = records();
    for (const key of whole.keys()) {
      if (key !== "directory" && key !== "blocks") damage(key, key.startsWith("pod/") ? "[]" : "garbage");
    }
    await apply(before);
    const said = (all: ReadonlyMap<string, string>) =>
      [...all].map(([key, text]) => [key, text.replace(/"revision":\d+/, "")]);
    expect(said(records())).toEqual(said(whole));
  });

  test.each([
    ["no `v`", "route/acme", '{"revision":1,"pod":"pod-a","state":"active"}'],
    ["no revision", "route/acme", '{"v":1,"pod":"pod-a","state":"active"}'],
    ["a revision that is a text", "route/acme", '{"v":1,"revision":"7","pod":"pod-a","state":"active"}'],
    ["a revision below 0", "route/acme", '{"v":1,"revision":-1,"pod":"pod-a","state":"active"}'],
    ["a `v` of 0", "key/pod-a", '{"v":0,"pod":"pod-a"}'],
  ])("is shown by plan and written again if it has %s and is right otherwise", async (_, key, text) => {
    await apply(before);
    damage(key, text);
    const lines = planLines(await makePlan(kv, before), "production");
    expect(lines).toContainEqual(expect.stringContaining(`~ ${key}: pod-a (the edge cannot read this record now)`));
    await apply(before);
    expect(JSON.parse(records().get(key) ?? "")).toMatchObject({ v: 1, pod: "pod-a" });
    expect((await makePlan(kv, before)).changes).toEqual([]);
  });

  test("does not keep `stores` from showing the other Pods, and ends it with 1", async () => {
    const store = { scheme: "public", baseUrl: "https://cdn.example.net" };
    await apply(
      topologyOf(`pods: {pod-a: ${podText("pod-a")}, pod-b: ${podText("pod-b", { blobs: { stores: [store] } })}}`),
    );
    damage("pod/pod-a", "[]");
    damage("pod/Pod", "{}");
    const dir = mkdtempSync(join(tmpdir(), "registry-edge-damaged-"));
    onTestFinished(() => rmSync(dir, { recursive: true }));
    const stores = async (...args: readonly string[]) =>
      podctl(["stores", ...args, "--env", "production"], { env: accountEnv(dir, server) });
    const all = await stores();
    expect([all.code, all.stdout, all.stderr]).toEqual([
      1,
      expect.stringMatching(/^pod-b {2}store 0 [^\n]*\n$/),
      expect.stringMatching(
        /^podctl: [^\n]*"Pod"[^\n]*\npodctl: record "pod\/pod-a" [^\n]*; docs\/runbook\.md [^\n]*\n$/,
      ),
    ]);
    const one = await stores("pod-a", "--json");
    expect([one.code, JSON.parse(one.stdout)]).toEqual([1, []]);
    expect((await stores("pod-a")).stdout).toBe("");
    await kv.remove(["pod/Pod"]);
  });

  test("stops plan and rollback if it is the directory record, until someone restores this record with its revision", async () => {
    await apply(after);
    const first = records();
    await apply(before);
    damage("directory", "garbage");
    for (const step of [() => makePlan(kv, before), () => rollBack(kv, async () => {})]) {
      await expect(step()).rejects.toThrow('record "directory" is not JSON');
    }
    damage("directory", '{"v":1,"revision":2}');
    const plan = await makePlan(kv, before);
    expect(plan.changes.map(({ action, key }) => `${action} ${key}`)).toEqual(["change directory"]);
    expect(plan.unfinished).toBeNull();
    await apply(before);
    await rollBack(kv, async () => {});
    await rollBack(kv, async () => {});
    expect(records()).toEqual(first);
  });
});

describe("a directory record that someone deleted", () => {
  const [oneRoute, noRoute] = [
    topologyOf(topologyText(["pod-a"], "assignments: {acme: pod-a}", "blocks: {acme/bad: no}")),
    topologyOf(topologyText(["pod-a"])),
  ];

  test("stops plan and rollback, so that no complete write is taken for an interrupted one, until someone restores it", async () => {
    await apply(oneRoute);
    await apply(before);
    const whole = records();
    await kv.remove(["directory"]);
    const left = records();
    for (const step of [() => makePlan(kv, before), () => rollBack(kv, async () => {})]) {
      await expect(step()).rejects.toThrow(
        'record "directory" is missing in KV, but "history/2" is there; docs/runbook.md says what to do (A record is damaged)',
      );
    }
    expect(records()).toEqual(left);
    await kv.write([["directory", '{"v":1,"revision":2}']]);
    await apply(before);
    await rollBack(kv, async () => {});
    expect([...records().keys()]).toEqual([...whole.keys()]);
    expect(records().get("blocks")).toBe(whole.get("blocks"));
  });

  test("stops export and small changes, because the file or the new record would have no default Pod", async () => {
    const dir = mkdtempSync(join(tmpdir(), "registry-edge-damaged-"));
    onTestFinished(() => rmSync(dir, { recursive: true }));
    await apply(before);
    await kv.remove(["directory"]);
    const left = records();
    for (const args of [["export"], ["block", "acme/worse", "--why", "no", "--yes"]]) {
      const run = await podctl([...args, "--env", "production"], { env: accountEnv(dir, server) });
      expect([run.code, run.stdout, run.stderr]).toEqual([
        1,
        "",
        expect.stringContaining('record "directory" is missing in KV, but "route/acme" is there'),
      ]);
    }
    expect(records()).toEqual(left);
  });

  test.each([
    ["an assignment, which the first write adds only after the directory record", oneRoute, "route/acme", true],
    ["a Pod, and no write that adds it has begun", noRoute, "pod/pod-a", false],
  ])("is known to be lost by %s", async (_, topology, key, hasHistory) => {
    await apply(topology);
    await kv.remove(["directory", ...(hasHistory ? [] : ["history/1", "history/1/0"])]);
    await expect(makePlan(kv, topology)).rejects.toThrow(`record "directory" is missing in KV, but "${key}" is there`);
  });

  test("is not missed before the first write, or while that write is not complete", async () => {
    expect((await makePlan(kv, before)).unfinished).toBeNull();
    for (const failing of [3, 4, 5]) {
      server.data.clear();
      server.heal();
      server.onWrite = (n) => n < failing;
      await expect(apply(before)).rejects.toThrow();
      server.heal();
      expect(server.data.has("directory")).toBe(false);
      expect((await makePlan(kv, before)).unfinished).toMatchObject({ revision: 1 });
    }
  });
});
