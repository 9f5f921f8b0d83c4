import { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import type { KvStore, ListedKey } from "../../src/podctl/target/kv-store.ts";
import { applyPlan, checkApplied } from "../../src/podctl/write/apply-plan.ts";
import { makePlan } from "../../src/podctl/write/make-plan.ts";
import { readLastWrite, undoWrite } from "../../src/podctl/write/undo-write.ts";
import { topologyOf, topologyText } from "../support/topologies.ts";
import { useCloudflareKv } from "../support/use-cloudflare-kv.ts";

const { server, kv } = await useCloudflareKv();

const before = topologyOf(
  topologyText(
    ["pod-a", "pod-b"],
    "assignments: {acme: pod-a, globex: pod-b, hooli: pod-b}",
    "default: pod-b",
    "blocks: {acme/bad: no}",
  ),
);
/** This topology has every kind of change from `before`: a new and a removed Pod, changed, new and removed assignments, another default. */
const after = topologyOf(
  topologyText(
    ["pod-a", "pod-c"],
    "assignments: {acme: pod-c, initech: pod-c, hooli: pod-a}",
    "default: pod-a",
    "blocks: {acme/bad: never}",
  ),
);

async function apply(topology: typeof before): Promise<void> {
  const plan = await makePlan(kv, topology);
  await applyPlan(kv, plan);
  await checkApplied(kv, topology, plan);
}

async function rollBack(kv: KvStore): Promise<void> {
  await undoWrite(kv, await readLastWrite(kv));
}

const timeless = (text: string) => text.replaceAll(/"(appliedAt|at)":"[^"]*"/g, '"$1":""');
const records = (withTime = true) =>
  new Map(
    [...server.data]
      .filter(([key]) => !key.startsWith("history/"))
      .map(([key, { value }]) => [key, withTime ? value : timeless(value)] as const)
      .sort(([one], [other]) => (one < other ? -1 : 1)),
  );

describe("an apply", () => {
  test("writes Pods and keys, then assignments, then the directory record, and deletes last", async () => {
    await apply(before);
    const order: string[] = [];
    server.heal();
    const seen = new Map(server.data);
    server.onWrite = () => {
      for (const [key, { value }] of server.data) if (seen.get(key)?.value !== value) order.push(key);
      for (const key of seen.keys()) if (!server.data.has(key)) order.push(`-${key}`);
      seen.clear();
      for (const [key, value] of server.data) seen.set(key, value);
      return true;
    };
    await apply(after);
    server.onWrite(0);
    expect(order).toEqual([
      "history/2/0",
      "history/2",
      "pod/pod-c",
      "key/pod-c",
      "blocks",
      // The directory record lists the new Pod before the Pod gets assignments. An assignment makes tokens name the Pod, and a token may name only
      // listed Pods.
      "directory",
      "route/acme",
      "route/hooli",
      "route/initech",
      "directory",
      "-route/globex",
      "-key/pod-b",
      "-pod/pod-b",
      "directory",
    ]);
  });

  test("does not change records that say the same already, nor their revisions", async () => {
    await apply(before);
    const untouched = records().get("route/globex");
    await apply(
      topologyOf(
        topologyText(
          ["pod-a", "pod-b"],
          "assignments: {acme: pod-b, globex: pod-b, hooli: pod-b}",
          "default: pod-b",
          "blocks: {acme/bad: no}",
        ),
      ),
    );
    expect(records().get("route/globex")).toBe(untouched);
    expect(records().get("route/acme")).toBe('{"v":1,"revision":2,"pod":"pod-b","state":"active"}');
    expect(JSON.parse(records().get("directory") ?? "")).toMatchObject({
      revision: 2,
      pods: ["pod-a", "pod-b"],
      default: "pod-b",
    });
  });

  test("changes nothing if the same file was applied already", async () => {
    await apply(before);
    expect((await makePlan(kv, before)).changes).toEqual([]);
  });

  test("keeps a block that is only in KV", async () => {
    await apply(before);
    await kv.write([["blocks", '{"v":1,"revision":1,"blocks":{"acme/bad":"no","acme/leaked":"leaked"}}']]);
    expect((await makePlan(kv, after)).keptBlocks).toEqual(["acme/leaked"]);
    await apply(after);
    expect(JSON.parse(records().get("blocks") ?? "")).toMatchObject({
      revision: 2,
      blocks: { "acme/bad": "never", "acme/leaked": "leaked" },
    });
  });
});

describe("the directory's depth", () => {
  const flat = topologyOf(topologyText(["pod-a", "pod-b"], "assignments: {acme: pod-a}"));
  const deep = topologyOf(topologyText(["pod-a", "pod-b"], "assignments: {acme: pod-a, acme/team/x: pod-b}"));
  const depth = () => (JSON.parse(records().get("directory") ?? "{}") as { depth?: number }).depth ?? 20;
  const unfound = () =>
    [...records().keys()].filter((key) => key.startsWith("route/") && key.split("/").length - 1 > depth());

  /**
   * From the `cut`-th write on, KV fails. `unfound` has the assignments that the edge could not find at some moment of the step, because they were
   * deeper than the directory's depth.
   */
  async function stepUntil(cut: number, step: () => Promise<void>): Promise<{ done: boolean; unfound: string[] }> {
    const seen: string[] = [];
    server.heal();
    server.onWrite = (n) => {
      seen.push(...unfound());
      return n < cut;
    };
    const done = await step().then(
      () => true,
      () => false,
    );
    server.heal();
    return { done, unfound: [...seen, ...unfound()] };
  }

  test.each([
    ["an apply that raises it", flat, deep, () => apply(deep)],
    ["an apply that lowers it", deep, flat, () => apply(flat)],
    ["a rollback that lowers it", flat, deep, () => rollBack(kv)],
    ["a rollback that raises it", deep, flat, () => rollBack(kv)],
  ])("is never less than that of an assignment in KV, wherever %s is cut off", async (name, first, second, step) => {
    for (let cut = 1, done = false; !done; cut += 1) {
      server.data.clear();
      await apply(first);
      if (name.startsWith("a rollback")) await apply(second);
      const stepped = await stepUntil(cut, step);
      expect(stepped.unfound, `cut at ${cut}`).toEqual([]);
      done = stepped.done;
    }
    expect(depth()).toBe(name.endsWith("lowers it") ? 1 : 3);
  });
});

test("an apply writes nothing if someone blocked an image since its plan was made", async () => {
  await apply(before);
  const plan = await makePlan(kv, after);
  await kv.write([["blocks", '{"v":1,"revision":2,"blocks":{"acme/bad":"no","acme/leaked":"leaked"}}']]);
  const held = records();
  await expect(applyPlan(kv, plan)).rejects.toThrow("the blocks in KV have changed since they were read");
  expect(records()).toEqual(held);
  await apply(after);
  expect(records().get("blocks")).toContain("acme/leaked");
});

describe("an apply that is interrupted", () => {
  async function uncut(): Promise<{ writes: number; state: ReadonlyMap<string, string> }> {
    await apply(before);
    let writes = 0;
    server.heal();
    server.onWrite = (n) => {
      writes = n;
      return true;
    };
    await apply(after);
    return { writes, state: records(false) };
  }

  /** Returns what was in KV before the apply that fails at its `cut`-th write. */
  async function cutAt(cut: number): Promise<ReadonlyMap<string, string>> {
    server.data.clear();
    server.heal();
    await apply(before);
    const original = records();
    server.heal();
    server.onWrite = (n) => n < cut;
    await expect(apply(after), `cut at ${cut}`).rejects.toThrow();
    server.heal();
    return original;
  }

  test("after any write reaches the same state when it is run again, and can be rolled back byte for byte", async () => {
    const { writes, state } = await uncut();
    expect(writes).toBeGreaterThan(12);
    for (let cut = 1; cut <= writes; cut += 1) {
      const original = await cutAt(cut);
      await apply(after);
      expect(records(false), `cut at ${cut}`).toEqual(state);
      expect((await makePlan(kv, after)).unfinished, `cut at ${cut}`).toBeNull();
      await rollBack(kv);
      expect(records(), `cut at ${cut}`).toEqual(original);
    }
  });

  test("after any write can be undone by a rollback", async () => {
    const { writes } = await uncut();
    for (let cut = 4; cut <= writes; cut += 1) {
      const original = await cutAt(cut);
      await rollBack(kv);
      expect(records(), `cut at ${cut}`).toEqual(original);
    }
  });
});

describe("the message of a write in which KV fails", () => {
  const message = async (cut: number, step: () => Promise<void>) => {
    server.heal();
    server.onWrite = (n) => n < cut;
    const said = await step().then(
      () => "",
      (error: Error) => error.message,
    );
    server.heal();
    return said.replace(/^the KV API answered: 500 .*?; /, "");
  };

  test("says for an apply whether it has changed a record, and how to complete or undo it", async () => {
    await apply(before);
    const { state } = await makePlan(kv, after);
    for (const cut of [1, 2]) {
      expect(await message(cut, () => apply(after))).toBe("no record was changed, so run the command again");
      expect((await makePlan(kv, after)).state).toBe(state);
    }
    for (const cut of [3, 6]) {
      expect(await message(cut, () => apply(after))).toBe(
        "the write to revision 2 is not complete: complete it by `podctl apply`, or undo it by `podctl rollback`",
      );
    }
  });

  test("says for a rollback that it must be run again", async () => {
    await apply(before);
    await apply(after);
    for (const cut of [1, 2, 5]) {
      expect(await message(cut, () => rollBack(kv))).toBe(
        "the rollback of revision 2 is not complete; run `podctl rollback` again",
      );
    }
  });

  test("does not ask for another rollback if only a part of the history is left, because that would undo one more write", async () => {
    for (const topology of [before, after]) await apply(topology);
    let writes = 0;
    server.heal();
    server.onWrite = (n) => {
      writes = n;
      return true;
    };
    await rollBack(kv);
    server.heal();
    await apply(after);
    expect(await message(writes, () => rollBack(kv))).toBe(
      "the rollback of revision 2 is complete, and what is left of its history is not used",
    );
    expect(await makePlan(kv, before)).toMatchObject({ changes: [], unfinished: null });
  });
});

describe("a rollback", () => {
  test("undoes one apply after the other, down to hand-written bytes and to an empty KV", async () => {
    const states: ReadonlyMap<string, string>[] = [records()];
    await apply(before);
    await kv.write([["route/hand", '{ "pod": "pod-a", "v": 1, "revision": 7, "state": "active" }']]);
    states.push(records());
    await apply(after);
    states.push(records());
    await apply(before);
    for (const state of states.toReversed()) {
      await rollBack(kv);
      if (state.size > 0) expect(records()).toEqual(state);
    }
    expect([...records().keys()]).toEqual(["route/hand"]);
    await kv.remove(["route/hand"]);
    await expect(rollBack(kv)).rejects.toThrow("KV keeps no history of what revision 0 replaced");
    expect([...server.data.keys()].filter((key) => key.startsWith("history/"))).toEqual([]);
  });

  test("that is interrupted is part of the next plan, and is completed by the next rollback", async () => {
    await apply(before);
    const original = records();
    for (let cut = 1, done = false; !done; cut += 1) {
      await apply(after);
      const applied = records();
      server.heal();
      server.onWrite = (n) => n < cut;
      done = await rollBack(kv).then(
        () => true,
        () => false,
      );
      server.heal();
      const { unfinished } = await makePlan(kv, before);
      if (unfinished === null) expect(records(), `cut at ${cut}`).toEqual(cut === 1 ? applied : original);
      else expect(unfinished, `cut at ${cut}`).toMatchObject({ undone: true });
      if (cut === 1 || unfinished !== null) await rollBack(kv);
      expect(records(), `cut at ${cut}`).toEqual(original);
      expect((await makePlan(kv, before)).unfinished, `cut at ${cut}`).toBeNull();
    }
  });

  test("can undo the last ten writes", async () => {
    for (let index = 0; index < 12; index += 1) await apply(index % 2 === 0 ? before : after);
    const indexes = [...server.data.keys()].filter((key) => /^history\/\d+$/.test(key));
    expect(indexes.map((key) => Number(key.slice(8))).sort((one, other) => one - other)).toEqual([
      3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
    ]);
  });
});

describe("an apply during which someone else writes", () => {
  const put = (key: string, value: string) => server.data.set(key, { value, metadata: JSON.parse(value) });
  const route = (pod: string) => `{"v":1,"revision":9,"pod":"${pod}","state":"active"}`;

  test("fails and names their record if the apply had already written that record", async () => {
    await apply(before);
    server.heal();
    server.onWrite = (n) => {
      if (n === 12) put("route/acme", route("pod-a"));
      return true;
    };
    await expect(apply(after)).rejects.toThrow(
      /someone else wrote 1 record during this apply.*\n.*~ route\/acme: pod-a → pod-c/,
    );
  });

  test("fails and names their record if the apply does not write that record", async () => {
    await apply(before);
    server.heal();
    server.onWrite = (n) => {
      if (n === 5) put("route/stranger", route("pod-a"));
      return true;
    };
    await expect(apply(after)).rejects.toThrow(/someone else wrote 1 record.*\n.*- route\/stranger: pod-a/);
  });

  test("is told apart from an apply after which a listing only lags behind", async () => {
    await apply(before);
    const plan = await makePlan(kv, after);
    const pages: (readonly ListedKey[])[] = [];
    for await (const page of kv.list()) pages.push(page);
    await applyPlan(kv, plan);
    let shown = 0;
    const lagging = (times: number): KvStore => ({
      ...kv,
      list: (prefix) => (shown++ < times ? Readable.from(pages) : kv.list(prefix)),
    });
    await checkApplied(lagging(1), after, plan, [0, 0]);
    shown = 0;
    await expect(checkApplied(lagging(2), after, plan, [0, 0])).rejects.toThrow(/^all was written, but KV still shows/);
  });

  test("fails and names them and their revision, which stays in KV", async () => {
    await apply(before);
    const other = { ...(JSON.parse(records().get("directory") ?? "") as object), revision: 2, appliedBy: "bob@box" };
    server.heal();
    server.onWrite = (n) => {
      if (n === 7) put("directory", JSON.stringify(other));
      return true;
    };
    await expect(
      apply(
        topologyOf(topologyText(["pod-a", "pod-b"], "assignments: {a: pod-a, b: pod-a, c: pod-a}", "default: pod-b")),
      ),
    ).rejects.toThrow("bob@box applied revision 2 during this write to revision 2");
    expect(records().get("directory")).toBe(JSON.stringify(other));
  });

  test("fails and names them if they begin a write to the same revision", async () => {
    await apply(before);
    server.heal();
    server.onWrite = (n) => {
      if (n === 6) put("history/2", '{"v":1,"revision":2,"at":"2026-01-01T00:00:00.000Z","by":"bob@box","chunks":1}');
      return true;
    };
    await expect(apply(after)).rejects.toThrow("bob@box began another write to revision 2 at 2026-01-01T00:00:00.000Z");
  });
});
