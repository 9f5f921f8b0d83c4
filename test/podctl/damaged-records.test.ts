import { describe, expect, test } from "vitest";
import { applyPlan } from "../../src/podctl/write/apply-plan.ts";
import { makePlan } from "../../src/podctl/write/make-plan.ts";
import { planLines } from "../../src/podctl/write/plan-text.ts";
import { rollBack } from "../../src/podctl/write/roll-back.ts";
import { topologyOf, topologyText } from "../support/topologies.ts";
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
