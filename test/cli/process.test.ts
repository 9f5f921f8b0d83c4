import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { accountEnv } from "../support/account.ts";
import { type CloudflareKv, startCloudflareKv } from "../support/cloudflare-kv.ts";
import { podctl } from "../support/podctl.ts";
import { topologyText } from "../support/topologies.ts";

const dir = mkdtempSync(join(tmpdir(), "registry-edge-process-"));
let server: CloudflareKv;
let env: Readonly<Record<string, string>>;
beforeAll(async () => {
  server = await startCloudflareKv();
  env = accountEnv(dir, server);
  writeFileSync(join(dir, "topology.yaml"), topologyText(["pod-a"], "assignments: {acme: pod-a}"));
});
afterAll(async () => {
  await server.stop();
  rmSync(dir, { recursive: true });
});
beforeEach(() => {
  server.data.clear();
  server.heal();
});

test("an apply whose reader goes away, as `head` does, is finished", async () => {
  const args = ["src/cli/podctl.ts", "apply", join(dir, "topology.yaml"), "--yes", "--env", "production"];
  const child = spawn(process.execPath, args, { env: { ...process.env, ...env } });
  child.stdout.destroy();
  const code = new Promise((resolve) => child.once("close", resolve));
  expect([await text(child.stderr), await code]).toEqual(["", 0]);
  expect([...server.data.keys()]).toContain("route/acme");
});

test.runIf(existsSync("/dev/full")).each([[["schema"]], [["keys", "generate"]]])(
  "%j: a result that cannot be written is a failure",
  async (args) => {
    const full = openSync("/dev/full", "w");
    const child = spawn(process.execPath, ["src/cli/podctl.ts", ...args], { stdio: ["ignore", full, "pipe"] });
    const code = new Promise((resolve) => child.once("close", resolve));
    expect([child.stderr && (await text(child.stderr)), await code]).toEqual([
      expect.stringMatching(/^podctl: standard output: ENOSPC.*\n$/),
      1,
    ]);
  },
);

test("by npm a path is that of the folder where npm was called", async () => {
  const asNpm = { ...env, npm_lifecycle_event: "podctl", INIT_CWD: dir };
  const run = await podctl(["validate", "topology.yaml", "--env", "production"], { env: asNpm });
  expect(run).toEqual({ stdout: "topology.yaml is valid: 1 Pod, 1 assignment, 0 blocks.\n", stderr: "", code: 0 });
});

test.each([
  [["unassign", "acme"], "there is no route/acme"],
  [["unblock", "acme/leaked"], "there is no block/acme/leaked"],
])("%j of what is not there says so", async (args, why) => {
  const run = await podctl([...args, "--yes", "--env", "production"], { env });
  expect(run).toEqual({ stdout: `Nothing to do: ${why}.\n`, stderr: "", code: 0 });
});

const staging = "a".repeat(32);
test.each([
  [["--env", "production"], 0, /^pod-a$/m],
  [["--env", "staging"], 1, /^podctl: the KV API answered: 404 /m],
])("%j is what it says, whatever CLOUDFLARE_ENV names", async (args, code, seen) => {
  await podctl(["apply", join(dir, "topology.yaml"), "--yes", "--env", "production"], { env });
  const config = env["PODCTL_WRANGLER_CONFIG"] ?? "";
  const both = join(dir, "both.toml");
  const second = `[env.staging]\nkv_namespaces = [{ binding = "DIRECTORY", id = "${staging}" }]\n`;
  writeFileSync(both, `${readFileSync(config, "utf8")}${second}`);
  const run = await podctl(["resolve", "acme/app", "--json", ...args], {
    env: { ...env, PODCTL_WRANGLER_CONFIG: both, CLOUDFLARE_ENV: "staging" },
  });
  expect([run.code, run.stdout.replace(/.*"pod": "([^"]*)".*/s, "$1") + run.stderr]).toEqual([
    code,
    expect.stringMatching(seen),
  ]);
});

test("a wrangler.toml that cannot be read is named", async () => {
  const broken = join(dir, "broken.toml");
  writeFileSync(broken, "name == 1\n");
  const run = await podctl(["plan", "--env", "production"], { env: { ...env, PODCTL_WRANGLER_CONFIG: broken } });
  expect([run.code, run.stderr]).toEqual([1, expect.stringContaining(`podctl: "${broken}" cannot be read: `)]);
});

test.each([
  ["apply", [join(dir, "topology.yaml")], "  + route/acme: pod-a\n"],
  ["block", ["acme/leaked", "--why", "leaked"], "  + block/acme/leaked\n"],
  ["rollback", [], "production: back from revision 1 "],
])("%s --json shows what it asks about, beside the JSON", async (command, args, shown) => {
  const production = ["--env", "production"];
  if (command === "rollback") await podctl(["apply", join(dir, "topology.yaml"), "--yes", ...production], { env });
  const asking = await podctl([command, ...args, "--json", ...production], { env });
  expect([asking.stdout, asking.stderr]).toEqual(["", expect.stringContaining(shown)]);
  const told = await podctl([command, ...args, "--json", "--yes", ...production], { env });
  expect([told.code, told.stderr, typeof JSON.parse(told.stdout)]).toEqual([0, "", "object"]);
});
