import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { chunksOf } from "../../src/lib/collections.ts";
import type { KvStore } from "../../src/podctl/target/kv-store.ts";
import { makePlan } from "../../src/podctl/write/make-plan.ts";
import { planJson, planLines } from "../../src/podctl/write/plan-text.ts";
import { writeQuestion } from "../../src/podctl/write/warnings.ts";
import { metadataOf, recordText } from "../../src/topology/record-text.ts";
import { topologyRecords } from "../../src/topology/topology.ts";
import { repositoryName } from "../support/generators.ts";
import { topologyOf, topologyText } from "../support/topologies.ts";

const pods = ["pod-a", "pod-b", "pod-c"];
const prefix = repositoryName.filter((name) => name.split("/").length <= 20);
const assignments = fc.dictionary(prefix, fc.constantFrom(...pods), { maxKeys: 20 });

const topologyWith = (assignments: Readonly<Record<string, string>>) =>
  topologyOf(topologyText(pods, `assignments: ${JSON.stringify(assignments)}`));

const depthOf = (assignments: Readonly<Record<string, string>>): number =>
  Math.max(1, ...Object.keys(assignments).map((prefix) => prefix.split("/").length));

/** A listing of this KV has `pageKeys` keys on each page. */
function kvOf(
  assignments: Readonly<Record<string, string>>,
  pageKeys: number,
  others: Readonly<Record<string, string>> = {},
): KvStore {
  const stamp = { revision: 1, appliedAt: new Date(0) };
  const texts = new Map(
    [...topologyRecords(topologyWith(assignments))].map(([key, record]) => [key, recordText(key, record, stamp)]),
  );
  for (const [key, text] of Object.entries(others)) texts.set(key, text);
  const keys = [...texts.keys()].sort();
  return {
    async *list() {
      for (const page of chunksOf(keys, pageKeys)) {
        yield page.map((key) => ({ key, metadata: metadataOf(texts.get(key) ?? "") }));
      }
    },
    read: async (keys) => new Map(keys.map((key) => [key, texts.get(key) ?? null])),
    write: () => Promise.reject(new Error("a plan writes nothing")),
    remove: () => Promise.reject(new Error("a plan deletes nothing")),
    untilSeen: () => Promise.reject(new Error("a plan waits for no edge")),
  };
}

describe("a plan", () => {
  test("adds the assignments that KV lacks, changes those that differ, deletes those that the topology lacks, and touches no others", () =>
    fc.assert(
      fc.asyncProperty(assignments, assignments, fc.integer({ min: 1, max: 8 }), async (live, more, pageKeys) => {
        // Half of the assignments in KV are also in the topology, so that the plan leaves some as they are.
        const kept = Object.entries(live).filter((_, index) => index % 2 === 0);
        const wanted = { ...Object.fromEntries(kept), ...more };
        const { changes } = await makePlan(kvOf(live, pageKeys), topologyWith(wanted));
        const expected = [
          ...Object.keys(wanted).flatMap((name) => (Object.hasOwn(live, name) ? [] : [`add route/${name}`])),
          ...Object.keys(wanted).flatMap((name) =>
            Object.hasOwn(live, name) && live[name] !== wanted[name] ? [`change route/${name}`] : [],
          ),
          ...Object.keys(live).flatMap((name) => (Object.hasOwn(wanted, name) ? [] : [`delete route/${name}`])),
          ...(depthOf(live) === depthOf(wanted) ? [] : ["change directory"]),
        ];
        expect(changes.map(({ action, key }) => `${action} ${key}`).toSorted()).toEqual(expected.toSorted());
      }),
    ));

  test("puts Pods before the assignments that name them, then the directory record, and deletes last", async () => {
    const before = topologyText(["pod-a", "pod-b"], "assignments: {acme: pod-a, globex: pod-b}");
    const after = topologyOf(topologyText(["pod-a", "pod-c"], "assignments: {acme: pod-c, initech: pod-c}"));
    const stamp = { revision: 1, appliedAt: new Date(0) };
    const records = [...topologyRecords(topologyOf(before))];
    const kv = kvOf({}, 1);
    const keys = records.map(([key, record]) => ({ key, metadata: JSON.parse(recordText(key, record, stamp)) }));
    const { changes } = await makePlan(
      {
        ...kv,
        list: async function* () {
          yield keys;
        },
      },
      after,
    );
    expect(changes.map(({ action, key }) => `${action} ${key}`)).toEqual([
      "add pod/pod-c",
      "add key/pod-c",
      "change route/acme",
      "add route/initech",
      "change directory",
      "delete route/globex",
      "delete key/pod-b",
      "delete pod/pod-b",
    ]);
  });

  test("names the assignments in KV that are deeper than the directory's depth, and deletes them or raises the depth", async () => {
    const kv = kvOf({ acme: "pod-a" }, 10);
    const route = { key: "route/acme/team", metadata: { v: 1, revision: 1, pod: "pod-b", state: "active" } };
    const withHand: KvStore = {
      ...kv,
      async *list() {
        yield* kv.list();
        yield [route];
      },
    };
    const absent = await makePlan(withHand, topologyWith({ acme: "pod-a" }));
    expect([absent.unfound, absent.changes.map(({ action, key }) => `${action} ${key}`)]).toEqual([
      ["route/acme/team"],
      ["delete route/acme/team"],
    ]);
    const wanted = await makePlan(withHand, topologyWith({ acme: "pod-a", "acme/team": "pod-b" }));
    expect([wanted.unfound, wanted.changes.map(({ action, key }) => `${action} ${key}`)]).toEqual([
      ["route/acme/team"],
      ["change directory"],
    ]);
    expect(planLines(wanted, "production").join("\n")).toContain(
      "route/acme/team is deeper than the directory's `depth`",
    );
  });

  test.each([
    ["pod-a", "pod-b", "pod-a → pod-b", "belong to pod-b, without their images"],
    ["pod-a", null, "pod-a → none", "belong to no Pod"],
    [null, "pod-b", "none → pod-b", null],
  ])(
    "shows another default Pod, %s → %s, and warns if names without an assignment leave a Pod",
    async (from, to, shown, warned) => {
      const record = {
        v: 1,
        revision: 1,
        pods,
        credentials: "own",
        depth: 1,
        ...(from === null ? {} : { default: from }),
      };
      const kv = kvOf({ acme: "pod-a" }, 10, { directory: JSON.stringify(record) });
      const lines = ["assignments: {acme: pod-a}", ...(to === null ? [] : [`default: ${to}`])];
      const plan = await makePlan(kv, topologyOf(topologyText(pods, ...lines)));
      expect(planLines(plan, "production")).toEqual([
        expect.stringContaining("production is at revision 1-"),
        `  ~ directory: default ${shown}`,
        ...(warned === null ? [] : [`  ! names without an assignment would ${warned}, and no longer to pod-a`]),
        "Plan: 0 records to add, 1 to change, 0 to delete.",
      ]);
      expect(planJson(plan)).toMatchObject({ changes: [{ members: ["default"], default: { from, to } }] });
      const doing = warned === null ? "Write" : "Change the default Pod, and write";
      expect(writeQuestion("production", plan.changes, plan.holder)).toBe(`${doing} this to production?`);
    },
  );

  test("neither deletes nor changes a record that a listing shows twice", async () => {
    const kv = kvOf({ acme: "pod-a", globex: "pod-b" }, 2);
    const twice: KvStore = {
      ...kv,
      async *list() {
        yield* kv.list();
        yield* kv.list();
      },
    };
    const plan = await makePlan(twice, topologyWith({ acme: "pod-a", globex: "pod-b" }));
    expect(plan.changes).toEqual([]);
  });
});

describe("a plan while a group is being moved", () => {
  const movingTo = (pod: string) => ({ to: pod, phase: "settle", since: "2026-11-26T12:00:00.000Z" });
  const moving = JSON.stringify({ v: 1, revision: 1, state: "active", pod: "pod-a", move: movingTo("pod-b") });
  const live = { acme: "pod-a", "acme/team": "pod-c" };

  test.each([
    ["the group that is being moved", "route/acme/team", '"acme/team" is being moved from pod-a to pod-b'],
    ["one below it", "route/acme", '"acme/team" is below "acme", which is being moved'],
  ])("leaves an assignment that the file does not have, %s, and the edge still finds it", async (_, key, why) => {
    const { changes, moving: kept } = await makePlan(kvOf(live, 2, { [key]: moving }), topologyWith({ acme: "pod-a" }));
    expect(changes).toEqual([]);
    expect(kept).toContainEqual(expect.stringContaining(why));
  });

  test.each([
    ["from which the group moves", "route/acme", ["pod-b", "pod-c"], { "acme/team": "pod-c" }, "pod-a"],
    ["to which the group moves", "route/acme", ["pod-a", "pod-c"], { "acme/team": "pod-c" }, "pod-b"],
    ["that is named below the group", "route/acme", ["pod-a", "pod-b"], { acme: "pod-a" }, "pod-c"],
  ])("is refused if the file does not have the Pod %s", async (_, key, ids, wanted, missing) => {
    const topology = topologyOf(topologyText(ids, `assignments: ${JSON.stringify(wanted)}`));
    await expect(makePlan(kvOf(live, 2, { [key]: moving }), topology)).rejects.toThrow(
      `names Pod "${missing}", which the file does not have; keep that Pod in the file until the move has ended`,
    );
  });
});
