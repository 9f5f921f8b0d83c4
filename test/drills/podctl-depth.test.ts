import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, test } from "vitest";
import { checkAssignments } from "../../src/podctl/doctor/check-assignments.ts";
import { openDirectory } from "../../src/podctl/target/traced-directory.ts";
import { accountEnv, podctl } from "../support/podctl.ts";
import { topologyText } from "../support/topologies.ts";
import { useCloudflareKv } from "../support/use-cloudflare-kv.ts";

const dir = mkdtempSync(join(tmpdir(), "registry-edge-depth-"));
const { server, kv } = await useCloudflareKv();
const env = accountEnv(dir, server);
const file = join(dir, "topology.yaml");
writeFileSync(file, topologyText(["pod-a"], "assignments: {acme: pod-a}"));
afterAll(() => rmSync(dir, { recursive: true }));

const run = (...args: readonly string[]) => podctl([...args, "--yes", "--env", "production"], { env });
const depth = () => (JSON.parse(server.data.get("directory")?.value ?? "{}") as { depth?: number }).depth;
const route = '{"v":1,"revision":1,"pod":"pod-a","state":"active"}';

const check = () => checkAssignments(openDirectory({ plainHttp: "nowhere" }, kv).directory, kv, ["pod-a"]);

beforeEach(async () => {
  expect((await run("apply", file)).code).toBe(0);
});

test("podctl assign raises the depth before it writes a deeper assignment, and unassign leaves it", async () => {
  const order: string[] = [];
  server.heal();
  server.onWrite = () => {
    order.push(`${depth()} ${server.data.has("route/acme/team/app")}`);
    return true;
  };
  const assigned = await run("assign", "acme/team/app", "pod-a");
  server.heal();
  expect([assigned.code, assigned.stdout]).toEqual([
    0,
    expect.stringContaining("  + route/acme/team/app: pod-a\n  ~ directory: depth\n"),
  ]);
  expect([...new Set(order)]).toEqual(["1 false", "3 false", "3 true"]);
  await run("unassign", "acme/team/app");
  expect([depth(), server.data.has("route/acme/team/app")]).toEqual([3, false]);
  await run("assign", "acme/team", "pod-a");
  expect(depth()).toBe(3);
  expect((await run("rollback")).code).toBe(0);
});

test("podctl assign raises the depth for an assignment that is in KV but too deep, and then finds nothing to do", async () => {
  await kv.write([["route/acme/team", route]]);
  const [first, second] = [await run("assign", "acme/team", "pod-a"), await run("assign", "acme/team", "pod-a")];
  expect([depth(), first.stdout]).toEqual([2, expect.stringMatching(/^ {2}~ directory: depth\n/)]);
  expect(second.stdout).toBe("Nothing to do: route/acme/team says so already.\n");
});

test("podctl doctor names the assignments that are too deep to be found, and what to do", async () => {
  expect(await check()).toMatchObject([{ check: "depth", status: "ok" }]);
  await kv.write([["route/acme/team", route]]);
  expect(await check()).toMatchObject([
    { finding: "assignment-unfound", text: "deeper than the directory's depth of 1: acme/team" },
  ]);
});

test("podctl doctor names the Pods without a record that the directory record, an assignment or a move names", async () => {
  const move = { to: "pod-c", phase: "copy", since: "2026-03-01T12:00:00.000Z" };
  await kv.write([
    ["directory", '{"v":1,"revision":1,"depth":1,"default":"pod-x","pods":["pod-a","pod-x"]}'],
    ["route/acme", JSON.stringify({ ...JSON.parse(route), move })],
    ["route/globex", route.replace("pod-a", "pod-aa")],
  ]);
  expect(await check()).toMatchObject([
    { check: "depth", status: "ok" },
    {
      finding: "pod-missing",
      text: 'a Pod has no record: the directory record names "pod-x", acme names "pod-c", globex names "pod-aa"',
    },
  ]);
});

test("podctl doctor names the assignments that the edge cannot read", async () => {
  await kv.write([
    ["route/acme", '{"pod":"pod-a","state":"active"}'],
    ["route/globex", '{"v":1,"revision":-1,"pod":"pod-a","state":"active"}'],
  ]);
  expect(await check()).toMatchObject([
    { check: "depth", status: "ok" },
    {
      finding: "record-wrong",
      text: expect.stringMatching(/^record "route\/acme" has no "v", record "route\/globex" is /),
    },
  ]);
});

test("podctl block and unblock change the record of blocks, with history, and refuse a record that cannot be read", async () => {
  const blocks = () => server.data.get("blocks")?.value ?? null;
  await run("block", "acme/leaked", "--why", "leaked");
  const first = blocks();
  const digest = `sha256:${"b".repeat(64)}`;
  await run("block", digest, "--why", "illegal");
  expect(JSON.parse(blocks() ?? "")).toMatchObject({ blocks: { "acme/leaked": "leaked", [digest]: "illegal" } });
  const again = await run("block", digest, "--why", "illegal");
  expect(again.stdout).toBe(`Nothing to do: ${digest} is blocked with this text already.\n`);
  await run("rollback");
  expect(blocks()).toBe(first);
  const lifted = await run("unblock", "acme/leaked");
  expect([blocks(), lifted.stdout]).toEqual([null, expect.stringContaining("  - blocks: - acme/leaked\n")]);
  await kv.write([["blocks", "garbage"]]);
  const refused = await run("block", "acme/leaked", "--why", "leaked");
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('record "blocks" is not JSON')]);
});

test("podctl block refuses a name with a tag and a misspelled digest, which would block nothing, and unblock lifts such a block", async () => {
  const digest = "b".repeat(64);
  for (const name of ["hello:1", "acme/app:1.2", `acme/app@sha256:${digest}`, `sha265:${digest}`]) {
    const refused = await run("block", name, "--why", "leaked");
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining("is neither a prefix nor a digest")]);
  }
  await kv.write([["blocks", '{"v":1,"revision":1,"blocks":{"hello:1":"leaked"}}']]);
  expect((await run("unblock", "hello:1")).stdout).toContain("  - blocks: - hello:1\n");
});

test("podctl block refuses the 10,001st block", async () => {
  const full = Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`a${index}`, "x"]));
  await kv.write([["blocks", JSON.stringify({ v: 1, revision: 1, blocks: full })]]);
  const refused = await run("block", "acme/leaked", "--why", "leaked");
  expect([refused.code, refused.stderr]).toEqual([
    1,
    expect.stringContaining("10001 prefixes and digests would be blocked; want at most 10000"),
  ]);
  expect((await run("block", "a1", "--why", "y")).code).toBe(0);
});
