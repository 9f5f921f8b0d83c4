import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { makePlan } from "../../src/podctl/write/make-plan.ts";
import { rollBack } from "../../src/podctl/write/roll-back.ts";
import { accountEnv, podctl } from "../support/podctl.ts";
import { topologyOf, topologyText } from "../support/topologies.ts";
import { useCloudflareKv } from "../support/use-cloudflare-kv.ts";

const dir = mkdtempSync(join(tmpdir(), "registry-edge-rollback-"));
const { server, kv } = await useCloudflareKv();
const env = { ...accountEnv(dir, server), NO_COLOR: "1" };
afterAll(() => rmSync(dir, { recursive: true }));

const run = (...args: readonly string[]) => podctl([...args, "--env", "production"], { env });
const textOf = (key: string) => server.data.get(key)?.value ?? null;
const records = () => new Map([...server.data].map(([key, { value }]) => [key, value]));
const put = (key: string, value: string) => server.data.set(key, { value, metadata: JSON.parse(value) });

const first = topologyText(["pod-a", "pod-b"], "assignments: { acme: pod-a }");

async function apply(text: string): Promise<void> {
  const file = join(dir, "topology.yaml");
  writeFileSync(file, text);
  expect(await run("apply", file, "--yes")).toMatchObject({ code: 0, stderr: "" });
}

beforeEach(async () => {
  await apply(first);
  await run("assign", "acme", "pod-b", "--yes");
});

describe("podctl rollback", () => {
  test("shows before its question which records change, and that it lifts a block", async () => {
    await run("block", "acme/leaked", "--why", "leaked", "--yes");
    const asked = await run("rollback");
    expect([asked.code, asked.stdout]).toEqual([
      1,
      expect.stringMatching(
        /^production goes back from revision 3 \(.*\) to 2: 1 record\.\n {2}- blocks: - acme\/leaked\n$/,
      ),
    ]);
    expect(textOf("blocks")).toContain("acme/leaked");
    await run("rollback", "--yes");
    const undone = await run("rollback", "--yes");
    expect(undone.stdout).toContain("  ~ route/acme: pod-b → pod-a\nRevision 1 is restored.\n");
  });

  test("writes nothing if someone blocked an image while it asked, and the block stays", async () => {
    let blocked: ReadonlyMap<string, string> = new Map();
    const rolled = rollBack(kv, async ({ changes }) => {
      expect(changes.map(({ action, key }) => `${action} ${key}`)).toEqual(["change route/acme"]);
      await run("block", "acme/leaked", "--why", "leaked", "--yes");
      blocked = records();
    });
    await expect(rolled).rejects.toThrow(
      /^KV changed since these changes were shown: the last write was revision 2 \(.*\), and now it is revision 3 \(.*\); run/,
    );
    expect(records()).toEqual(blocked);
    expect(textOf("blocks")).toContain("acme/leaked");
    expect((await makePlan(kv, topologyOf(first))).unfinished).toBeNull();
  });

  test("completes an interrupted rollback of an interrupted write, also if another write came in between", async () => {
    const { revision } = JSON.parse(textOf("directory") ?? "") as { revision: number };
    const former = [...records()].filter(([key]) => key === "route/acme" || key === "directory");
    // An apply was interrupted after it had written the assignment and before the directory record. Its rollback was interrupted before it had put
    // anything back.
    put("route/acme", '{"v":1,"revision":3,"pod":"pod-a","state":"active"}');
    put(`history/${revision + 1}/0`, JSON.stringify({ v: 1, former }));
    const index = { v: 1, revision: revision + 1, at: "2026-01-01T00:00:00.000Z", by: "bob", chunks: 1, undone: true };
    put(`history/${revision + 1}`, JSON.stringify(index));
    await apply(topologyText(["pod-a", "pod-b"], "assignments: { acme: pod-a }", "blocks: { acme/leaked: leaked }"));
    const undone = await run("rollback", "--yes");
    expect(undone.stdout).toContain("  ~ route/acme: pod-a → pod-b\n");
    expect(textOf("route/acme")).toContain('"pod":"pod-b"');
    expect(textOf("blocks")).toBeNull();
  });

  test.each([
    ["of the last write", 2],
    ["of an interrupted write", 3],
  ])(
    "that is interrupted is named by plan, and until it is completed, small changes are refused: %s",
    async (_, revision) => {
      server.heal();
      server.onWrite = (n) => n < 4;
      if (revision === 3) expect((await run("assign", "acme", "pod-a", "--yes")).code).toBe(1);
      server.heal();
      server.onWrite = (n) => n < 2;
      expect((await run("rollback", "--yes")).code).toBe(1);
      server.heal();
      const begun = new RegExp(`the rollback of revision ${revision} \\(.*\\) is not complete`);
      const planned = await run("plan", join(dir, "topology.yaml"));
      expect([planned.code, planned.stdout]).toEqual([2, expect.stringMatching(begun)]);
      expect(planned.stdout).toContain("If no podctl is at work on it any more, `podctl rollback` completes it");
      const left = records();
      for (const change of [
        ["assign", "zq", "pod-a"],
        ["set", "acme", "uploads=edge"],
        ["block", "zq", "--why", "leaked"],
      ]) {
        const refused = await run(...change, "--yes");
        expect([refused.code, refused.stderr]).toEqual([1, expect.stringMatching(begun)]);
        expect(refused.stderr).toContain("complete it by `podctl rollback`");
      }
      expect(records()).toEqual(left);
      expect((await run("rollback", "--yes")).stdout).toContain(`Revision ${revision - 1} is restored.`);
      expect((await run("assign", "zq", "pod-a", "--yes")).code).toBe(0);
    },
  );

  test("names the damaged records that it would put back", async () => {
    put("route/acme", '{"pod":"pod-b","state":"active"}');
    await run("set", "acme", "uploads=edge", "uploads=", "--yes");
    expect(textOf("route/acme")).toBe('{"v":1,"revision":3,"pod":"pod-b","state":"active"}');
    const asked = await run("rollback");
    expect(asked.stdout).toContain(
      "  ! route/acme was damaged before that write, so after this rollback the edge cannot read it\n",
    );
  });

  test("of a history without chunks, or without the directory record, is refused and deletes nothing", async () => {
    const index = { v: 1, revision: 2, at: "2026-01-01T00:00:00.000Z", by: "bob@box", chunks: 0 };
    for (const [key, text, why] of [
      ["history/2", JSON.stringify(index), 'record "history/2" is wrong at "chunks": want >=1'],
      ["history/2/0", '{"v":1,"former":[]}', 'a part of "history/2" is missing in KV, so revision 2 cannot be undone'],
    ] as const) {
      const whole = textOf(key) ?? "";
      put(key, text);
      const left = records();
      const refused = await run("rollback", "--yes");
      expect([refused.code, refused.stderr]).toEqual([1, `podctl: ${why}\n`]);
      expect(records()).toEqual(left);
      put(key, whole);
    }
  });

  test("writes nothing if someone changed one of its records by hand while it asked", async () => {
    const byHand = '{"v":1,"revision":2,"pod":"pod-b","state":"active","uploads":"edge"}';
    const rolled = rollBack(kv, async () => void put("route/acme", byHand));
    await expect(rolled).rejects.toThrow("KV changed since these changes were shown: some of the records have another");
    expect(textOf("route/acme")).toBe(byHand);
  });

  test("writes nothing if a move of the group began while it asked", async () => {
    const move = { to: "pod-a", phase: "copy", since: "2026-01-01T00:00:00.000Z" };
    const moving = JSON.stringify({ v: 1, revision: 2, pod: "pod-b", state: "active", move });
    const rolled = rollBack(kv, async () => void put("route/acme", moving));
    await expect(rolled).rejects.toThrow('the last write is a step of the move of "acme" from pod-b to pod-a');
    expect(textOf("route/acme")).toBe(moving);
  });

  test("fails and names another operator whose write completes while it writes, and their revision stays", async () => {
    const other = JSON.stringify({ ...JSON.parse(textOf("directory") ?? ""), revision: 3, appliedBy: "bob@box" });
    server.heal();
    server.onWrite = (n) => {
      if (n === 2) put("directory", other);
      return true;
    };
    await expect(rollBack(kv, async () => {})).rejects.toThrow(
      "bob@box applied revision 3 during this rollback of revision 2; run `podctl plan`",
    );
    expect(textOf("directory")).toBe(other);
  });

  test("fails and names another operator who begins a write while it writes", async () => {
    const directory = textOf("directory");
    server.heal();
    server.onWrite = (n) => {
      if (n === 2) put("history/3", '{"v":1,"revision":3,"at":"2026-01-01T00:00:00.000Z","by":"bob@box","chunks":1}');
      return true;
    };
    await expect(rollBack(kv, async () => {})).rejects.toThrow(
      "bob@box began another write to revision 3 at 2026-01-01T00:00:00.000Z, during this rollback of revision 2",
    );
    expect(textOf("directory")).toBe(directory);
  });
});
