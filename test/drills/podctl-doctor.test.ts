import { readFile, writeFile } from "node:fs/promises";
import { expect, onTestFinished, test } from "vitest";
import { writeStackFile } from "../../src/local/stack-files.ts";
import { advice, type Check } from "../../src/podctl/doctor/findings.ts";
import { account, apiToken, namespace, startCloudflareKv } from "../support/cloudflare-kv.ts";
import { startOddPod } from "../support/odd-pod.ts";
import { podctl } from "../support/podctl.ts";
import { readStackKv, useStack } from "../support/toy-stack.ts";

const stack = useStack();
const hostilePod = await startOddPod();

async function doctor(...args: readonly string[]) {
  const file = `${stack.current.stateDir}/stack.json`;
  await writeStackFile(stack.current, file);
  return podctl(["doctor", ...args], { env: { PODCTL_STACK: file, NO_COLOR: "1" } });
}

test("podctl doctor prints a table and what to do, and exits with 1 if anything is wrong", async () => {
  await stack.current.setFault("pod-b", "token", { mode: "refuse" });
  const [sick, named] = [await doctor(), await doctor("pod-a", "pod-a", "--json", "--write")];
  await stack.current.setFault("pod-b", "token", { mode: "none" });
  expect([sick.code, sick.stderr, named.code]).toEqual([1, "", 0]);
  expect(sick.stdout).toMatch(/^pod-b +token +token-unreachable +ECONNREFUSED$/m);
  expect(sick.stdout).toContain(`token-unreachable: ${advice["token-unreachable"]}`);
  const checks = JSON.parse(named.stdout) as Check[];
  const deletes = { pod: "pod-a", check: "deletes", status: "ok", text: "on" };
  expect(checks.filter(({ check }) => check === "deletes")).toEqual([deletes]);
  // To check the depth, doctor has to list all assignments. It does this only if the operator names no Pods.
  expect(sick.stdout).toMatch(/^edge +depth +ok +every assignment has at most 1 component$/m);
  expect(checks.filter(({ check }) => check === "depth")).toEqual([]);
  expect(sick.stdout).toMatch(/^edge +sealed values +ok +2 values, for the newest key$/m);
});

test("podctl doctor with a Pod's name does not send it the login for all Pods, if each Pod has its own users", async () => {
  const directory = (await readStackKv(stack.current, ["directory"])).get("directory") ?? "";
  onTestFinished(() => stack.current.putKv("directory", directory));
  await stack.current.putKv("directory", directory.replace('"shared"', '"own"'));
  const asked = () => stack.current.seen("pod-b", "token").map(({ authorization }) => authorization);
  const env = { PODCTL_USER_POD_B: "demo", PODCTL_PASSWORD_POD_B: "demo" };
  stack.current.clearSeen();
  const anonymous = await doctor("pod-b");
  expect([anonymous.code, new Set(asked())]).toEqual([0, new Set(["none"])]);
  expect(anonymous.stdout).toMatch(/^pod-b +token +ok +.*set PODCTL_USER_POD_B and PODCTL_PASSWORD_POD_B/m);
  const own = await podctl(["doctor", "pod-b"], {
    env: { ...env, PODCTL_STACK: `${stack.current.stateDir}/stack.json`, NO_COLOR: "1" },
  });
  expect([own.code, asked().includes("basic")]).toEqual([0, true]);
});

test("podctl doctor checks every Pod that has a record", async () => {
  await stack.current.putKv("pod/pod-c", '{"v":1}');
  const { stdout, code } = await doctor();
  await stack.current.deleteKv("pod/pod-c");
  expect([code, stdout]).toEqual([1, expect.stringMatching(/^pod-c +record +record-wrong/m)]);
});

test("podctl doctor and explain show the control characters of a hostile Pod's token, and print none", async () => {
  const hostile = "\u001b]52;c;aGk=\u0007\u001b[2J\u009b1A\r";
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const access = [{ type: "repository", name: "globex/hello", actions: ["pull"] }];
  const claims = { iss: hostile, aud: hostile, sub: hostile, exp: 2e9, access };
  const jwt = `${part({ alg: "RS256", kid: hostile })}.${part(claims)}.c2ln`;
  hostilePod.answer((response) => void response.writeHead(200).end(JSON.stringify({ token: jwt })));
  const known = (await readStackKv(stack.current, ["pod/pod-b"])).get("pod/pod-b") ?? "";
  await stack.current.putKv("pod/pod-b", JSON.stringify({ ...JSON.parse(known), token: `${hostilePod.url}/jwt/auth` }));
  const found = await doctor("pod-b");
  await stack.current.putKv("pod/pod-b", known);
  const env = { PODCTL_STACK: `${stack.current.stateDir}/stack.json`, NO_COLOR: "1" };
  const path = "/v2/globex/hello/manifests/1";
  const explained = await podctl(["explain", "GET", path, "--token", `pods.v1.pod-b/${jwt}`], { env });
  for (const { stdout, stderr } of [found, explained]) {
    expect(stdout + stderr).not.toMatch(/[^\P{Cc}\n\t]/u);
    expect(stdout).toContain("\\u001b[2J\\u009b1A\\u000d");
  }
});

test("podctl doctor sends nothing to an --edge over http, except on this machine", async () => {
  hostilePod.answer((response) => void response.writeHead(200).end('{"status":"ok"}'));
  // 0.0.0.0 leads to this machine, but podctl does not count it as an address of this machine.
  const { code, stdout, stderr } = await doctor("--edge", hostilePod.url.replace("127.0.0.1", "0.0.0.0"));
  expect([code, stdout, stderr]).toEqual([1, "", expect.stringContaining("Give a URL such as https://")]);
  expect(hostilePod.seen).toEqual([]);
});

test("podctl doctor works on an account's directory with --edge, and says what the operator has not given", async () => {
  const cloudflare = await startCloudflareKv();
  const keys = ["directory", "pod/pod-a", "pod/pod-b", "route/acme", "route/globex"];
  for (const [key, value] of await readStackKv(stack.current, keys)) cloudflare.data.set(key, { value: value ?? "" });
  const config = `${stack.current.stateDir}/wrangler.toml`;
  const head = `name = "edge"\ncompatibility_date = "2026-10-23"\naccount_id = "${account}"\n`;
  const bound = `[env.production]\nvars = { PLAIN_HTTP = "allow" }\n`;
  const kv = `[[env.production.kv_namespaces]]\nbinding = "DIRECTORY"\nid = "${namespace}"\n`;
  await writeFile(config, head + bound + kv);
  const env = {
    PODCTL_WRANGLER_CONFIG: config,
    CLOUDFLARE_BASE_URL: cloudflare.baseUrl,
    PODCTL_API_TOKEN: apiToken,
    NO_COLOR: "1",
  };
  const args = ["doctor", "--env", "production"];
  const PODCTL_PROBE_TOKEN = await readFile(`${stack.current.stateDir}/probe-token`, "utf8");
  const known = { ...env, PODCTL_PROBE_TOKEN, PODCTL_USER: "demo", PODCTL_PASSWORD: "demo" };
  const edge = ["--edge", stack.current.edge];
  const [lost, partial, whole] = await Promise.all([
    podctl(args, { env }),
    podctl([...args, ...edge], { env }),
    podctl([...args, ...edge, "--write"], { env: known }),
  ]);
  await cloudflare.stop();
  expect([lost.code, lost.stderr]).toEqual([1, expect.stringContaining("want --edge <url>")]);
  expect([partial.code, partial.stdout]).toEqual([
    0,
    expect.stringMatching(/^edge +probe +skipped +podctl has no PROBE_TOKEN/m),
  ]);
  expect([whole.code, whole.stdout]).toEqual([0, expect.not.stringContaining("skipped")]);
}, 60_000);
