import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, expect, test } from "vitest";
import { accountEnv, podctl } from "../support/podctl.ts";
import { topologyText } from "../support/topologies.ts";
import { useCloudflareKv } from "../support/use-cloudflare-kv.ts";

const production = ["--env", "production"];
const dir = mkdtempSync(join(tmpdir(), "registry-edge-process-"));
const { server } = await useCloudflareKv();
const env = accountEnv(dir, server);
writeFileSync(join(dir, "topology.yaml"), topologyText(["pod-a"], "assignments: {acme: pod-a}"));
afterAll(() => rmSync(dir, { recursive: true }));

test("podctl process: an apply is completed even if the reader of its output goes away, as `head` does", async () => {
  const args = ["src/podctl/podctl.ts", "apply", join(dir, "topology.yaml"), "--yes", ...production];
  const child = spawn(process.execPath, args, { env: { ...process.env, ...env } });
  child.stdout.destroy();
  const code = new Promise((resolve) => child.once("close", resolve));
  expect([await text(child.stderr), await code]).toEqual(["", 0]);
  expect([...server.data.keys()]).toContain("route/acme");
});

test.runIf(existsSync("/dev/full")).each([[["schema"]], [["keys", "generate"]]])(
  "podctl process: %j fails if its result cannot be written",
  async (args) => {
    const full = openSync("/dev/full", "w");
    const child = spawn(process.execPath, ["src/podctl/podctl.ts", ...args], { stdio: ["ignore", full, "pipe"] });
    const code = new Promise((resolve) => child.once("close", resolve));
    expect([child.stderr && (await text(child.stderr)), await code]).toEqual([
      expect.stringMatching(/^podctl: standard output: ENOSPC.*\n$/),
      1,
    ]);
  },
);

test("podctl process: started by npm, podctl reads a path relative to the folder where npm was called", async () => {
  const asNpm = { ...env, npm_lifecycle_event: "podctl", INIT_CWD: dir };
  const run = await podctl(["validate", "topology.yaml", ...production], { env: asNpm });
  expect(run).toEqual({ stdout: "topology.yaml is valid: 1 Pod, 1 assignment, 0 blocks.\n", stderr: "", code: 0 });
});

test("podctl process: an export with a line file in a folder says where its topology belongs, and is read there", async () => {
  const asNpm = { ...env, npm_lifecycle_event: "podctl", INIT_CWD: dir };
  const run = (...args: readonly string[]) => podctl([...args, ...production], { env: asNpm });
  await run("apply", "topology.yaml", "--yes");
  mkdirSync(join(dir, "out"));
  const exported = await run("export", "--assignments-file", "out/lines.tsv");
  expect(exported.stderr).toBe(
    `podctl reads the assignments file "out/lines.tsv" relative to the topology's folder, so save the topology in "${dir}"\n`,
  );
  writeFileSync(join(dir, "exported.yaml"), exported.stdout);
  expect((await run("plan", "exported.yaml")).stdout).toMatch(/^No changes: /);
  expect((await run("export", "--assignments-file", "lines.tsv")).stderr).toBe("");
});

test("podctl process: unassign and unblock say that there is nothing to remove", async () => {
  const runs = await Promise.all(
    [["unassign", "acme"] as const, ["unblock", "acme/leaked"] as const].map((args) =>
      podctl([...args, "--yes", ...production], { env }),
    ),
  );
  expect(runs).toEqual(
    ["route/acme", "block of acme/leaked"].map((key) => ({
      stdout: `Nothing to do: there is no ${key}.\n`,
      stderr: "",
      code: 0,
    })),
  );
});

test("podctl process: the environment comes from --env or, without that flag, from CLOUDFLARE_ENV, as for wrangler", async () => {
  await podctl(["apply", join(dir, "topology.yaml"), "--yes", ...production], { env });
  const both = join(dir, "both.toml");
  const second = `[env.staging]\nkv_namespaces = [{ binding = "DIRECTORY", id = "${"a".repeat(32)}" }]\n`;
  writeFileSync(both, `${readFileSync(env["PODCTL_WRANGLER_CONFIG"] ?? "", "utf8")}${second}`);
  const resolve = (...flags: readonly string[]) =>
    podctl(["resolve", "acme/app", ...flags], {
      env: { ...env, PODCTL_WRANGLER_CONFIG: both, CLOUDFLARE_ENV: "staging" },
    });
  const [one, other, third] = await Promise.all([resolve(...production), resolve("--env", "staging"), resolve()]);
  expect([one.code, one.stdout]).toEqual([0, expect.stringMatching(/^Pod +pod-a /m)]);
  const unknown = [1, expect.stringMatching(/^podctl: the KV API answered: 404 /)];
  expect([other.code, other.stderr]).toEqual(unknown);
  expect([third.code, third.stderr]).toEqual(unknown);
});

test("podctl process: a damaged record in KV is told with the part of the runbook that says what to do", async () => {
  const damaged = "docs/runbook.md says what to do (A record is damaged)\n";
  expect(readFileSync("docs/runbook.md", "utf8")).toContain("\n## A record is damaged\n");
  server.data.set("directory", { value: '{"v":1,"revision":1}' });
  server.data.set("route/acme", { value: '{"pod":"pod-a"}' });
  server.data.set("pod/pod-x", { value: "{" });
  const [resolved, stores, exported] = await Promise.all(
    [["resolve", "acme/app"], ["stores", "pod-x"], ["export"]].map((args) => podctl([...args, ...production], { env })),
  );
  server.data.set("directory", { value: "{" });
  const planned = await podctl(["plan", join(dir, "topology.yaml"), ...production], { env });
  expect([resolved?.stderr, stores?.stderr, planned.stderr, exported?.stderr]).toEqual([
    `podctl: record "route/acme" has no "state"; ${damaged}`,
    `podctl: record "pod/pod-x" is not JSON; ${damaged}`,
    `podctl: record "directory" is not JSON; ${damaged}`,
    expect.stringContaining(damaged),
  ]);
});

test.each([
  ["name == 1\n", "line 1: Invalid TOML document: "],
  ['[vars]\nPASSWORD = "HUSH\n', "line 2: Invalid TOML document: "],
  ['vars = "HUSH"\n', "vars: want Object\n"],
])(
  "podctl process: an error names a wrangler.toml that cannot be read, and shows none of its lines: %j",
  async (text, said) => {
    const broken = join(dir, "broken.toml");
    writeFileSync(broken, text);
    const run = await podctl(["plan", ...production], { env: { ...env, PODCTL_WRANGLER_CONFIG: broken } });
    expect([run.code, run.stderr]).toEqual([1, expect.stringContaining(`podctl: "${broken}" cannot be read: ${said}`)]);
    expect(run.stderr).not.toContain("HUSH");
  },
);

test("podctl process: a line break in a key of KV or in an operator's name begins no line that looks like podctl's own", async () => {
  const forged = "\n  - route/globex: pod-b";
  const evil = { ...env, PODCTL_ACTOR: `evil${forged}` };
  const run = (...args: readonly string[]) => podctl([...args, ...production], { env: evil });
  await run("apply", join(dir, "topology.yaml"), "--yes");
  await run("assign", "initech", "pod-a", "--yes");
  const { revision } = JSON.parse(server.data.get("directory")?.value ?? "{}") as { revision: number };
  const put = (key: string, record: object) =>
    server.data.set(key, { value: JSON.stringify({ v: 1, revision: 1, ...record }), metadata: null });
  put(`key/x: pod-a${forged}`, { pod: "pod-a" });
  put(`route/a/b${forged}`, { pod: "pod-a" });
  const shown = [await run("rollback"), await run("plan", join(dir, "topology.yaml"))];
  put(`history/${revision + 1}`, {
    revision: revision + 1,
    at: "2026-11-26T12:00:00.000Z",
    by: `evil${forged}`,
    chunks: 1,
  });
  shown.push(await run("plan", join(dir, "topology.yaml")), await run("assign", "hooli", "pod-a", "--yes"));
  for (const { stdout, stderr } of shown) {
    expect(stdout + stderr).toContain("\\u000a  - route/globex: pod-b");
    expect(stdout + stderr).not.toMatch(/^ *- route\/globex/m);
  }
  expect(shown[1]?.stdout).toContain("  - key/x: pod-a\\u000a  - route/globex: pod-b: pod-a");
});

test("podctl process: with --json, a command shows on standard error what it asks about", async () => {
  const run = (...args: readonly string[]) => podctl([...args, "--json", ...production], { env });
  const told = await run("apply", join(dir, "topology.yaml"), "--yes");
  expect([told.code, told.stderr, typeof JSON.parse(told.stdout)]).toEqual([0, "", "object"]);
  writeFileSync(join(dir, "next.yaml"), topologyText(["pod-a"], "assignments: {globex: pod-a}"));
  const asking = await Promise.all([
    run("apply", join(dir, "next.yaml")),
    run("block", "acme/leaked", "--why", "leaked"),
    run("rollback"),
  ]);
  expect(asking.map(({ stdout }) => stdout)).toEqual(["", "", ""]);
  const shown = ["  + route/globex: pod-a\n", "  + blocks: + acme/leaked\n", "production goes back from revision 1 "];
  expect(asking.map(({ stderr }) => stderr)).toEqual(shown.map((text) => expect.stringContaining(text)));
});
