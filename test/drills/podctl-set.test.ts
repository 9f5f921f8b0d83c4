import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { parseJson } from "../../src/lib/json.ts";
import { accountEnv, podctl } from "../support/podctl.ts";
import { topologyText } from "../support/topologies.ts";
import { useCloudflareKv } from "../support/use-cloudflare-kv.ts";

const dir = mkdtempSync(join(tmpdir(), "registry-edge-set-"));
const { server } = await useCloudflareKv();
const env = { ...accountEnv(dir, server), NO_COLOR: "1" };
const file = join(dir, "topology.yaml");
const settings = '{ pod: pod-a, clients: { deny: [{ countries: [FR] }], reason: "Not from France." } }';
writeFileSync(file, topologyText(["pod-a", "pod-b"], `assignments: { acme: ${settings}, globex: pod-b }`));
afterAll(() => rmSync(dir, { recursive: true }));

const run = (...args: readonly string[]) => podctl([...args, "--env", "production"], { env });
const clients = { deny: [{ countries: ["FR"] }], reason: "Not from France." };
const inKv = (prefix: string) => {
  const { revision: _, ...record } = parseJson(server.data.get(`route/${prefix}`)?.value ?? "") as { revision: number };
  return record;
};

beforeEach(async () => {
  expect(await run("apply", file, "--yes")).toMatchObject({ code: 0 });
});

test("podctl set changes single settings of a group, shows which, and leaves the others", async () => {
  const set = await run("set", "acme", "state=read-only", "reason=We move house.", "uploads=edge", "--yes");
  expect([set.code, set.stdout]).toEqual([
    0,
    expect.stringContaining("  ~ route/acme: pod-a, state, reason, uploads\n"),
  ]);
  expect(inKv("acme")).toEqual({
    ...{ v: 1, pod: "pod-a", state: "read-only", reason: "We move house.", uploads: "edge", clients },
  });
  expect((await run("set", "acme", "state=", "uploads=", "--yes")).code).toBe(0);
  expect(inKv("acme")).toEqual({ v: 1, pod: "pod-a", state: "active", clients });
  const again = await run("set", "acme", "uploads=", "--yes");
  expect(again.stdout).toBe("Nothing to do: route/acme says so already.\n");
});

test("podctl set as JSON names the settings that changed, and rollback undoes them", async () => {
  const set = await run("set", "globex", "delivery=stream", "--yes", "--json");
  const change = { action: "change", key: "route/globex", pod: { from: "pod-b", to: "pod-b" }, members: ["delivery"] };
  expect(JSON.parse(set.stdout)).toMatchObject({ changes: [change] });
  expect((await run("rollback", "--yes")).code).toBe(0);
  expect(inKv("globex")).toEqual({ v: 1, pod: "pod-b", state: "active" });
});

test("podctl assign moves a group with its settings", async () => {
  const assigned = await run("assign", "acme", "pod-b", "--yes");
  expect([assigned.code, assigned.stdout]).toEqual([0, expect.stringContaining("  ~ route/acme: pod-a → pod-b\n")]);
  expect(inKv("acme")).toEqual({ v: 1, pod: "pod-b", state: "active", clients });
});

test.each([
  ["text that is not JSON", "garbage", "is not JSON"],
  [
    "a setting that only a newer podctl knows",
    '{"v":1,"revision":1,"pod":"pod-a","state":"active","colour":"blue"}',
    "colour",
  ],
])("podctl assign refuses an assignment that has %s, and it stays", async (_, text, mistake) => {
  server.data.set("route/acme", { value: text, metadata: parseJson(text) });
  const before = new Map(server.data);
  const refused = await run("assign", "acme", "pod-b", "--yes");
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining(`record "route/acme" `)]);
  expect(refused.stderr).toContain(mistake);
  expect(refused.stderr).toContain("its settings would be lost; `podctl apply` writes it");
  expect(server.data).toEqual(before);
  expect((await run("apply", file, "--yes")).code).toBe(0);
  expect((await run("assign", "acme", "pod-b", "--yes")).code).toBe(0);
});

describe("a record that a newer podctl has written", () => {
  const newer = '{"v":2,"revision":2,"pod":"pod-a","state":"active","move":{"to":"pod-b"}}';
  writeFileSync(join(dir, "empty.yaml"), topologyText(["pod-a", "pod-b"]));

  test.each([
    [["set", "acme", "state=read-only", "--yes"], "route/acme"],
    [["assign", "acme", "pod-b", "--yes"], "route/acme"],
    [["assign", "acme/team", "pod-b", "--yes"], "route/acme"],
    [["unassign", "acme", "--yes"], "route/acme"],
    [["plan", "topology.yaml"], "route/acme"],
    [["apply", "topology.yaml", "--yes"], "route/acme"],
    [["apply", "empty.yaml", "--yes"], "route/acme"],
    [["apply", "topology.yaml", "--yes"], "pod/pod-a"],
    [["apply", "topology.yaml", "--yes"], "blocks"],
    [["block", "acme/leaked", "--why", "leaked", "--yes"], "blocks"],
    [["rollback", "--yes"], "route/acme"],
    [["move", "acme", "--status"], "route/acme"],
    [["export"], "route/acme"],
    [["resolve", "acme/app"], "route/acme"],
  ])("makes %j end with this reason, and %s stays", async (args, key) => {
    server.data.set(key, { value: newer, metadata: JSON.parse(newer) });
    server.heal();
    const before = new Map(server.data);
    const refused = await run(...args.map((arg) => (arg.endsWith(".yaml") ? join(dir, arg) : arg)));
    const why = `podctl: record "${key}" has "v": 2, so a newer podctl has written it, and this version cannot read it; use the newer podctl\n`;
    expect([refused.code, refused.stderr]).toEqual([1, why]);
    expect(server.data).toEqual(before);
  });
});

test.each([
  [["set", "initech", "delivery=stream"], '"initech" is not assigned; run `podctl assign initech <pod>` first'],
  [["set", "acme/team", "delivery=stream"], '"acme/team" is not assigned'],
  [["set", "acme", "delivery=fast"], 'delivery: "fast" is wrong; want "stream"'],
  [["set", "acme", "colour=blue"], '"colour" is not a setting; want one of state, reason,'],
  [["set", "Acme", "delivery=stream"], 'prefix "Acme" has upper-case letters'],
])("podctl %j is refused, and nothing is written", async (args, message) => {
  const before = new Map(server.data);
  const refused = await run(...args, "--yes");
  expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining(message)]);
  expect(server.data).toEqual(before);
});

test("a setting that would lock out everyone is named before the question, and without a yes nothing is written", async () => {
  const before = new Map(server.data);
  const set = await run("set", "acme", "clients.allow=[]");
  const line = "! no client could use acme any more: clients.allow is empty";
  expect([set.code, set.stdout]).toEqual([1, expect.stringContaining(line)]);
  writeFileSync(
    join(dir, "locked.yaml"),
    topologyText(["pod-a"], "assignments: { acme: { pod: pod-a, clients: { deny: [{}] } } }"),
  );
  const planned = await run("plan", join(dir, "locked.yaml"));
  expect(planned.stdout).toContain("! no client could use acme any more: clients.deny has every client");
  const applied = await run("apply", join(dir, "locked.yaml"));
  expect([applied.code, applied.stdout]).toEqual([1, expect.stringContaining("! no client could use acme any more")]);
  expect(server.data).toEqual(before);
  expect((await run("set", "acme", "clients.allow=[]", "--yes")).code).toBe(0);
  expect(inKv("acme")).toMatchObject({ clients: { allow: [] } });
});

test("a change that opens a group to everyone is named before the question, also in an apply and a rollback", async () => {
  const line = "  ! every client could use acme: no condition is left\n";
  expect((await run("set", "acme", "clients.deny.countries=FR,BE", "--yes")).stdout).not.toContain("!");
  expect((await run("set", "acme", "clients.deny.countries=", "clients.reason=")).stdout).toContain(line);
  writeFileSync(
    join(dir, "open.yaml"),
    topologyText(["pod-a", "pod-b"], "assignments: { acme: pod-a, globex: pod-b }"),
  );
  const applied = await run("apply", join(dir, "open.yaml"), "--yes");
  expect([applied.code, applied.stdout]).toEqual([0, expect.stringContaining(line)]);
  expect((await run("set", "acme", "clients.allow.countries=DE", "--yes")).code).toBe(0);
  expect((await run("rollback")).stdout).toContain(line);
});

test("plan names the settings that a file changes, and an export with a line file keeps them in the topology", async () => {
  writeFileSync(
    file.replace(".yaml", "-2.yaml"),
    topologyText(["pod-a", "pod-b"], "assignments: { acme: pod-a, globex: { pod: pod-b, state: read-only } }"),
  );
  const planned = await run("plan", file.replace(".yaml", "-2.yaml"));
  expect(planned.stdout).toContain("  ~ route/acme: pod-a, clients\n  ~ route/globex: pod-b, state\n");
  const lines = join(dir, "lines.tsv");
  const exported = await run("export", "--assignments-file", lines);
  expect(exported.stdout).toContain("assignments:\n  acme:\n    pod: pod-a\n    clients:\n");
  expect(exported.stdout).not.toContain("globex:");
  writeFileSync(join(dir, "exported.yaml"), exported.stdout);
  expect(await run("plan", join(dir, "exported.yaml"))).toMatchObject({ code: 0 });
});
