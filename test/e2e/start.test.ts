import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, expect, it } from "vitest";
import { freePort, isListening } from "../../src/local/ports.ts";
import { checkoutIn } from "../support/checkout.ts";
import { descendants, isRunning, processesNaming } from "./processes.ts";
import { describeWith, needs } from "./tools.ts";

let dir: string;
let group: number | null = null;
beforeEach(async () => {
  dir = await mkdtemp(`${tmpdir()}/registry-edge-e2e-`);
});
afterEach(async () => {
  // If the test has passed, its processes have already ended.
  if (group !== null && (await isRunning(group))) process.kill(-group, "SIGKILL");
  await rm(dir, { recursive: true, force: true });
});

/** Runs `npm start` in a process group of its own, as a shell does. */
function npmStart(checkout: string, port: number, ...args: readonly string[]) {
  const command = ["--silent", "--ignore-scripts", "start", "--", ...args];
  const env = { ...process.env, PORT: String(port) };
  const child = spawn("npm", command, { cwd: checkout, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  if (child.pid === undefined) throw new Error("npm did not start");
  group = child.pid;
  return { pid: child.pid, exited: once(child, "exit"), stdout: child.stdout, stderr: child.stderr };
}

const realPods = [...needs.distributionPods, ...needs.registryPods];

describeWith(["npm", ...realPods], "npm start at its end", () => {
  it.each([
    ["toy", "Ctrl-C", (pid: number) => process.kill(-pid, "SIGINT")],
    ["toy", "SIGTERM to npm only", (pid: number) => process.kill(pid, "SIGTERM")],
    ["toy", "SIGKILL to npm only", (pid: number) => process.kill(pid, "SIGKILL")],
    ["distribution-v3", "Ctrl-C", (pid: number) => process.kill(-pid, "SIGINT")],
    ["registry", "Ctrl-C", (pid: number) => process.kill(-pid, "SIGINT")],
  ])("%s Pods leave no process, no port and no stack.json after %s", async (pods, _, end) => {
    const checkout = await checkoutIn(dir, { tools: true });
    const { pid, exited, stdout } = npmStart(checkout, await freePort(), "--pods", pods);
    const [welcome] = (await once(stdout, "data")) as [Buffer];
    expect(welcome.toString()).toContain("Ctrl-C stops everything.");
    const stackFile = `${checkout}/.local/stack.json`;
    const ports = [...(await readFile(stackFile, "utf8")).matchAll(/:(\d+)"/g)].map(([, port]) => Number(port));
    const started = await descendants(pid);
    expect([ports.length, started.length > 3]).toEqual([14, true]);
    end(pid);
    await exited;
    await expect.poll(() => left(started), { timeout: 5_000 }).toEqual([]);
    const open = await Promise.all(ports.map(async (port) => ((await isListening(port)) ? [port] : [])));
    expect(open.flat()).toEqual([]);
    expect(existsSync(stackFile)).toBe(false);
  });

  it("no process and no stack.json is left if Ctrl-C comes while it starts", async () => {
    const checkout = await checkoutIn(dir, { tools: true });
    const { pid, exited, stdout } = npmStart(checkout, await freePort(), "--pods", "distribution-v3");
    const printed = text(stdout);
    // At most three of npm's descendants are not servers: a shell, Node and the watchdog. So if there are five, the first servers run.
    const count = async () => (await descendants(pid)).length;
    await expect.poll(count, { interval: 20, timeout: 20_000 }).toBeGreaterThan(4);
    const started = await descendants(pid);
    process.kill(-pid, "SIGINT");
    await exited;
    await expect.poll(() => left(started), { timeout: 5_000 }).toEqual([]);
    expect([await printed, existsSync(`${checkout}/.local/stack.json`)]).toEqual(["", false]);
    await expect.poll(() => processesNaming(checkout), { timeout: 5_000 }).toEqual([]);
  });
});

describeWith(["npm"], "npm start on a port in use", () => {
  it("it names the port in one line and fails", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as AddressInfo;
    const { exited, stdout, stderr } = npmStart(await checkoutIn(dir, { tools: false }), port);
    const [[code], printed, complained] = await Promise.all([exited, text(stdout), text(stderr)]);
    other.close();
    expect([code, printed]).toEqual([1, ""]);
    expect(complained).toBe(
      `Port ${port} of 127.0.0.1 is in use or needs root: free it, or choose another with PORT=.\n`,
    );
  });
});

async function left(pids: readonly number[]): Promise<readonly number[]> {
  const running = await Promise.all(pids.map(async (pid) => ((await isRunning(pid)) ? [pid] : [])));
  return running.flat();
}
