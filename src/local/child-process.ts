/** Starts a server as a process in its own process group, waits until the server is ready, and makes sure that it ends. */
import { type ChildProcess, spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import type { Watchdog } from "./teardown.ts";

const readyMs = 20_000;
const graceMs = 1_500;
const keptOutputChars = 4_000;

type ChildOptions = {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly watchdog: Watchdog;
  /** Returns the port of the server, or null if the server is not ready yet. `output` is the last part of what the process has printed. */
  readonly readyPort: (output: string) => number | null | Promise<number | null>;
};

/** A server gets only these variables, because variables for AWS, TLS or telemetry would change what it does. */
export function childEnv(): Readonly<Record<string, string | undefined>> {
  const { PATH, HOME, TMPDIR } = process.env;
  return { PATH, HOME, TMPDIR };
}

type Child = {
  readonly port: number;
  stop(): Promise<void>;
  kill(): Promise<void>;
};

export async function startChild(options: ChildOptions): Promise<Child> {
  const { name, command, args, env, watchdog } = options;
  const child = spawn(command, args, { env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  const keep = (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-keptOutputChars);
  };
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  child.on("error", (error) => keep(Buffer.from(error.message)));
  if (child.pid !== undefined) watchdog.watch(child.pid);

  for (const giveUpAt = Date.now() + readyMs; !hasEnded(child); await sleep(25)) {
    const port = await options.readyPort(output);
    if (port !== null && !hasEnded(child)) return running(name, child, port, () => lastLines(output));
    if (Date.now() > giveUpAt) break;
  }
  await end(child);
  throw new Error(`${name} did not start: ${lastLines(output)}`);
}

function running(name: string, child: ChildProcess, port: number, output: () => string): Child {
  const onExit = () => console.error(`${name} ended by itself: ${output()}`);
  child.once("exit", onExit);
  const endWith = (signal: NodeJS.Signals) => () => {
    child.off("exit", onExit);
    return end(child, signal);
  };
  return { port, stop: endWith("SIGTERM"), kill: endWith("SIGKILL") };
}

const hasEnded = (child: ChildProcess): boolean =>
  child.pid === undefined || child.exitCode !== null || child.signalCode !== null;

async function end(child: ChildProcess, signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
  if (hasEnded(child)) return;
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const timer = setTimeout(() => killGroup(child, "SIGKILL"), graceMs);
  killGroup(child, signal);
  await exited;
  clearTimeout(timer);
}

function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // `kill` throws if the group has ended in the meantime, and then there is nothing to do.
  }
}

const lastLines = (output: string): string => output.trim().split("\n").slice(-3).join(" | ") || "no output";
