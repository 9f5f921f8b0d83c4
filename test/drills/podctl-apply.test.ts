import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { accountEnv, podctl } from "../support/podctl.ts";
import { podctlProgram } from "../support/podctl-program.ts";
import { topologyText } from "../support/topologies.ts";
import { useCloudflareKv } from "../support/use-cloudflare-kv.ts";

const dir = mkdtempSync(join(tmpdir(), "registry-edge-apply-"));
const file = join(dir, "topology.yaml");
const { server } = await useCloudflareKv();
const env = accountEnv(dir, server);
beforeAll(() => {
  const lines = Array.from({ length: 25_000 }, (_, index) => `group-${index}\tpod-${index % 2 === 0 ? "a" : "b"}\n`);
  writeFileSync(join(dir, "assignments.tsv"), lines.join(""));
  writeFileSync(file, topologyText(["pod-a", "pod-b"], "assignmentsFile: assignments.tsv", "default: pod-a"));
});
afterAll(() => rmSync(dir, { recursive: true }));

const apply = ["apply", file, "--yes", "--env", "production"];
const records = () =>
  new Map(
    [...server.data]
      .map(([key, { value }]) => [key, value.replaceAll(/"(appliedAt|at)":"[^"]*"/g, "")] as const)
      .sort(([one], [other]) => (one < other ? -1 : 1)),
  );

test("apply writes 10,000 assignments per call, and export gives back what was applied", async () => {
  expect((await podctl(apply, { env })).stdout).toMatch(
    /\nPlan: 25,005 records to add, 0 to change, 0 to delete\.\nApplied as revision 1;/,
  );
  expect(server.calls.filter((call) => call.startsWith("PUT /bulk ")).map((call) => Number(call.slice(10)))).toEqual([
    // Each number is the number of records in one call. The calls write the history's chunk, its index, the Pods, the keys, the directory record with
    // the new Pods, the assignments (three calls), and the directory record with the new revision.
    ...[1, 1, 2, 2, 1, 10_000, 10_000, 5_000, 1],
  ]);
  const lines = join(dir, "exported.tsv");
  const exported = await podctl(["export", "--assignments-file", lines, "--env", "production"], { env });
  expect(readFileSync(lines, "utf8").split("\n").toSorted()).toEqual(
    readFileSync(join(dir, "assignments.tsv"), "utf8").split("\n").toSorted(),
  );
  writeFileSync(join(dir, "exported.yaml"), exported.stdout);
  server.heal();
  const again = await podctl(["apply", join(dir, "exported.yaml"), "--yes", "--env", "production"], { env });
  expect(again.stdout).toMatch(/^No changes: production is what the file says, at revision 1-/);
  expect(server.calls.filter((call) => call.startsWith("PUT"))).toEqual([]);
});

// Four processes write or read 25,000 records, which takes almost half a minute on a busy machine.
test("an apply that is killed and run again reaches the same state", { timeout: 120_000 }, async () => {
  await podctl(apply, { env });
  const state = records();
  server.data.clear();
  server.heal();
  const killed = spawn(process.execPath, [podctlProgram, ...apply], { env: { ...process.env, ...env } });
  server.onWrite = (n) => {
    if (n === 12_345) killed.kill("SIGKILL");
    return true;
  };
  expect(await once(killed, "exit")).toEqual([null, "SIGKILL"]);
  server.onWrite = () => true;
  expect(server.data.has("directory") && records().get("directory")).not.toBe(state.get("directory"));
  const plan = await podctl(["plan", file, "--env", "production"], { env });
  expect([plan.code, plan.stdout]).toEqual([
    2,
    expect.stringMatching(
      /the write of .* to revision 1 is not complete; begun at .*\. If no podctl is at work on it any more, `podctl apply` completes it\./,
    ),
  ]);
  expect((await podctl(apply, { env })).code).toBe(0);
  expect(records()).toEqual(state);
});

test("apply writes nothing if it has neither --yes nor a terminal", async () => {
  const { code, stderr } = await podctl(["apply", file, "--env", "production"], { env });
  expect([code, stderr]).toEqual([
    1,
    "podctl: standard input is not a terminal, so podctl cannot ask; pass --yes to write\n",
  ]);
  expect(server.data.size).toBe(0);
});

test("apply says in one line, without the token, that the API refuses its token", async () => {
  const { code, stderr } = await podctl(apply, { env: { ...env, PODCTL_API_TOKEN: "stranger" } });
  expect([code, stderr]).toEqual([1, expect.stringMatching(/^podctl: the KV API answered: 403 (?!.*stranger).*\n$/)]);
});

describe("blocks in KV that cannot be read", () => {
  const newer =
    '{"v":1,"revision":1,"blocks":{"acme/leaked":"leaked"},"note":"a member that only a newer podctl knows"}';

  test.each([
    ["the record has a member of a newer podctl", newer, 'record "blocks" '],
    ["the record is garbage", "garbage", 'record "blocks" is not JSON'],
  ])("are shown by plan and stop apply, and stay as they are: %s", async (_, text, why) => {
    const small = join(dir, "blocks.yaml");
    writeFileSync(small, topologyText(["pod-a"], "assignments: { acme: pod-a }", "blocks: { acme/bad: no }"));
    const run = (...args: readonly string[]) => podctl([...args, "--env", "production"], { env });
    expect((await run("apply", small, "--yes")).code).toBe(0);
    server.data.set("blocks", { value: text, metadata: undefined });
    for (const content of [readFileSync(small, "utf8"), topologyText(["pod-a"], "assignments: { globex: pod-a }")]) {
      writeFileSync(small, content);
      const left = records();
      const planned = await run("plan", small);
      const said = new RegExp(`! ${why}.*so an apply would lift blocks .* by hand, .* or delete its key`);
      expect([planned.code, planned.stdout]).toEqual([2, expect.stringMatching(said)]);
      const json = JSON.parse((await run("plan", small, "--json")).stdout) as object;
      expect(json).toMatchObject({ unreadBlocks: expect.stringContaining(why) });
      const applied = await run("apply", small, "--yes");
      expect([applied.code, applied.stderr]).toEqual([1, expect.stringContaining(why)]);
      expect((await run("apply", small, "--yes", "--json")).code).toBe(1);
      expect(records()).toEqual(left);
    }
    server.data.delete("blocks");
    expect((await run("apply", small, "--yes")).code).toBe(0);
  });
});
