import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { directoryKey } from "../../src/directory/keys.ts";
import { CliFailure } from "../../src/podctl/failure.ts";
import type { KvStore } from "../../src/podctl/target/kv-store.ts";
import type { Target } from "../../src/podctl/target/target.ts";
import { applyPlan } from "../../src/podctl/write/apply-plan.ts";
import { makePlan } from "../../src/podctl/write/make-plan.ts";
import { rollBack } from "../../src/podctl/write/roll-back.ts";
import { makeSmallChange } from "../../src/podctl/write/small-change.ts";
import { readLastWrite } from "../../src/podctl/write/undo-write.ts";
import { writeDirectory } from "../../src/podctl/write/write-directory.ts";
import { parseBlocks } from "../../src/topology/blocks.ts";
import { topologyOf, topologyText } from "../support/topologies.ts";
import { useCloudflareKv } from "../support/use-cloudflare-kv.ts";

const { server, kv } = await useCloudflareKv();

const first = topologyOf(topologyText(["pod-a", "pod-b"], "assignments: { acme: pod-a }"));
const others = topologyOf(
  topologyText(["pod-a", "pod-b", "pod-c"], "assignments: { acme: pod-a }", "default: pod-c", "credentials: shared"),
);
const apply = async (topology: typeof first) => applyPlan(kv, await makePlan(kv, topology));
const records = () => new Map([...server.data].map(([key, { value }]) => [key, value]));

const targetOf = (openKv: Target["openKv"]): Target => ({
  ...{ name: "production", auth: "token", service: "s" },
  ...{ plainHttp: "nowhere", edgeHosts: [], realm: null, seals: "unchecked", openKv },
  openEdge: () => Promise.reject(new Error("no edge is asked")),
  ...{ defaultFile: null, placeholders: null },
});

/** Wraps `kv`: when this key has been read n times, another operator acts. */
function afterRead(n: number, read: string, act: () => Promise<unknown>): KvStore {
  let left = n;
  return {
    ...kv,
    read: async (keys) => {
      const texts = await kv.read(keys);
      if (keys.includes(read)) left -= 1;
      if (left === 0 && keys.includes(read)) await act();
      return texts;
    },
  };
}

const assigned = { key: "route/acme/team", after: () => ({ pod: "pod-b", state: "active" }), already: "" };
const blocked = { key: "blocks", after: () => ({ blocks: { "acme/leaked": "leaked" } }), already: "" };
const yes = { yes: true, json: true };

// The commands print each change. These lines would hide the test runner's own.
beforeEach(() => void vi.spyOn(process.stdout, "write").mockReturnValue(true));
afterEach(() => void vi.restoreAllMocks());

describe("a change that is confirmed late", () => {
  test.each([
    ["assignment", assigned, "route/acme/team"],
    ["block", blocked, "blocks"],
  ])("writes nothing if another operator applied a file meanwhile: %s", async (_, wanted, key) => {
    await apply(first);
    let left = records();
    const late = afterRead(1, "history/2", async () => {
      await apply(others);
      left = records();
    });
    await expect(
      makeSmallChange(
        targetOf(() => late),
        wanted,
        yes,
      ),
    ).rejects.toThrow(
      'KV changed since this change was shown: "directory" has another text now; nothing was written, so run the command again',
    );
    expect(records()).toEqual(left);
    expect(left.has(key)).toBe(false);
    await makeSmallChange(
      targetOf(() => kv),
      wanted,
      yes,
    );
    expect(JSON.parse(records().get("directory") ?? "")).toMatchObject({ revision: 3, credentials: "shared" });
  });

  test("writes nothing if the key or a shorter prefix has another text, or another write has begun", async () => {
    const byHand = '{"v":1,"revision":1,"pod":"pod-a","state":"active","uploads":"edge"}';
    const begun = '{"v":1,"revision":2,"at":"2026-01-01T00:00:00.000Z","by":"bob@box","chunks":1}';
    for (const [key, text, why] of [
      ["route/acme/team", byHand, '"route/acme/team" has another text now'],
      ["route/acme", byHand, '"route/acme" has another text now'],
      ["history/2", begun, "the write of bob@box to revision 2 is not complete"],
    ] as const) {
      server.data.clear();
      server.heal();
      await apply(first);
      const late = afterRead(1, "history/2", () => kv.write([[key, text]]));
      const changed = makeSmallChange(
        targetOf(() => late),
        assigned,
        yes,
      );
      await expect(changed).rejects.toThrow(`KV changed since this change was shown: ${why}`);
      expect(records().has("history/2/0")).toBe(false);
    }
  });

  test("leaves no history of a revision that a rollback made a later one", async () => {
    await apply(first);
    await apply(others);
    const late = afterRead(1, "history/3", () => rollBack(kv, async () => {}));
    await expect(
      makeSmallChange(
        targetOf(() => late),
        blocked,
        yes,
      ),
    ).rejects.toThrow("KV changed since");
    await apply(others);
    expect((await makePlan(kv, others)).unfinished).toBeNull();
    await makeSmallChange(
      targetOf(() => kv),
      blocked,
      yes,
    );
    const blocks = parseBlocks(records().get("blocks") ?? null);
    expect(blocks.ok && [...blocks.value.keys()]).toEqual(["acme/leaked"]);
  });
});

describe("two changes at once", () => {
  const chunk = "history/2/0";
  const index = "history/2";

  /**
   * `kvOf` gives each run a KV. The runs make these writes in this order, and all their other writes afterwards. `begun` resolves when a run is about
   * to make its first write, and has already read the clock for it.
   */
  function inOrder(...writes: readonly string[]) {
    const left = [...writes];
    const begun = Promise.withResolvers<void>();
    const kvOf = (run: string): KvStore => ({
      ...kv,
      write: async (entries) => {
        begun.resolve();
        const own = `${run} ${entries[0]?.[0]}`;
        while (left.length > 0 && left[0] !== own) await sleep(1);
        await kv.write(entries);
        left.shift();
      },
    });
    return { kvOf, begun: begun.promise };
  }

  const assign = (openKv: Target["openKv"], prefix: string) =>
    makeSmallChange(
      targetOf(openKv),
      { key: `route/${prefix}`, after: () => ({ pod: "pod-b", state: "active" }), already: "" },
      yes,
    );

  test.each([
    ["saved last what it replaced", [`al ${chunk}`, `bo ${chunk}`]],
    ["saved first what it replaced", [`bo ${chunk}`, `al ${chunk}`]],
  ])("are both undone by one rollback, and the one that fails says so, if the other %s", async (_, chunks) => {
    await apply(first);
    const original = records();
    const { kvOf, begun } = inOrder(...chunks, `al ${index}`, `bo ${index}`);
    const al = assign(() => kvOf("al"), "al");
    await begun;
    await sleep(5); // so that the two writes do not begin in the same millisecond
    const bo = assign(() => kvOf("bo"), "bo");
    const [failed] = await Promise.allSettled([al, bo]);
    await bo;
    expect(failed).toMatchObject({
      reason: {
        message: expect.stringMatching(
          /during this write to revision 2; this run has written route\/al already: once the other write is complete, `podctl rollback` undoes both, and `podctl plan` shows/,
        ),
      },
    });
    expect([records().has("route/al"), records().has("route/bo")]).toEqual([true, true]);
    await rollBack(kv, async () => {});
    expect(records()).toEqual(new Map([...original].filter(([key]) => !key.startsWith(index))));
  });
});

describe("an apply whose plan is older than the directory record", () => {
  test("writes nothing, also if the record changes after the first check, and the other's write can be undone", async () => {
    await apply(first);
    const plan = await makePlan(kv, topologyOf(topologyText(["pod-a", "pod-b"], "assignments: { initech: pod-b }")));
    for (const reads of [0, 1]) {
      let left = records();
      const other = async () => {
        await makeSmallChange(
          targetOf(() => kv),
          blocked,
          yes,
        );
        left = records();
      };
      if (reads === 0) await other();
      const late = reads === 0 ? kv : afterRead(reads, directoryKey, other);
      await expect(applyPlan(late, plan)).rejects.toThrow(
        /^KV changed since revision 1 was read: now it is at revision 2, applied by .*; nothing was written, so run the command again$/,
      );
      expect(records().get("directory")).toBe(left.get("directory"));
      expect([records().has("blocks"), records().has("route/initech")]).toEqual([true, false]);
      await rollBack(kv, async () => {});
      expect(records().has("directory")).toBe(true);
    }
  });
});

describe("an apply after a rollback that was interrupted", () => {
  test("keeps the texts that the rollback had not put back, even if KV fails when they are read", async () => {
    await apply(first);
    const before = records().get("directory") ?? "";
    await apply(others);
    const { index } = await readLastWrite(kv);
    await kv.write([
      ["history/2", JSON.stringify({ ...index, undone: true })],
      ["directory", before],
    ]);
    const kept = records().get("history/2/0");
    expect(kept).toContain("pod/pod-c");
    const failing: KvStore = {
      ...kv,
      read: (keys) => (keys.includes("history/2/0") ? Promise.reject(new CliFailure("KV answers 500")) : kv.read(keys)),
    };
    const written = writeDirectory(failing, await makePlan(kv, others));
    await expect(written).rejects.toThrow("KV answers 500");
    expect(records().get("history/2/0")).toBe(kept);
  });
});

describe("an apply that someone rolls back while it runs", () => {
  const further = topologyOf(topologyText(["pod-a", "pod-b"], "assignments: { acme: pod-a, initech: pod-b }"));
  const revision = () => (JSON.parse(records().get("directory") ?? "") as { revision: number }).revision;

  /** A rollback's first write marks the last apply as undone. */
  async function markUndone(): Promise<void> {
    const { index } = await readLastWrite(kv);
    await kv.write([[`history/${index.revision}`, JSON.stringify({ ...index, undone: true })]]);
  }

  test.each([
    ["has ended", () => rollBack(kv, async () => {})],
    ["has begun", markUndone],
  ])("fails and says so, and the revision stays, if the rollback %s", async (_, act) => {
    await apply(first);
    const plan = await makePlan(kv, further);
    const rolled: KvStore = {
      ...kv,
      write: async (entries) => {
        if (entries.some(([key]) => key === "route/initech")) await act();
        await kv.write(entries);
      },
    };
    const written = writeDirectory(rolled, { ...plan, lagPausesMs: [0, 0] });
    await expect(written).rejects.toThrow("someone rolled back this write to revision 2 while it was running");
    expect(revision()).toBe(1);
  });

  test("is told apart from an apply whose history KV shows late", async () => {
    await apply(first);
    const plan = await makePlan(kv, further);
    let hidden = 2;
    const late: KvStore = {
      ...kv,
      read: async (keys) => {
        const texts = await kv.read(keys);
        if (hidden === 0 || (texts.get("history/2") ?? null) === null) return texts;
        hidden -= 1;
        return new Map(keys.map((key) => [key, null]));
      },
    };
    expect(await writeDirectory(late, { ...plan, lagPausesMs: [0, 0, 0] })).toBe(2);
    expect([hidden, revision()]).toEqual([0, 2]);
  });
});
