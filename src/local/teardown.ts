/** What a program has started, and how all of it ends: stopped by the program, or killed when the program dies first. */
import { spawn } from "node:child_process";

export type Stop = () => Promise<void>;

export class Teardown {
  readonly watchdog: Watchdog = startWatchdog();
  readonly #stops: Stop[] = [];

  add<T extends { stop: Stop }>(started: T): T {
    this.#stops.push(() => started.stop());
    return started;
  }

  /** All stop at once, because none of them needs another to end. */
  async run(): Promise<void> {
    await Promise.allSettled(this.#stops.splice(0).map((stop) => stop()));
    this.watchdog.dismiss();
  }
}

export type Watchdog = {
  watch(pid: number): void;
  /** Ends the watchdog, after everything that it watched has ended. */
  dismiss(): void;
};

const script = 'pids=; while read -r pid; do pids="$pids $pid"; done; for pid in $pids; do kill -KILL "$pid"; done';

/**
 * Kills our child processes if this process dies without a chance to end them. One `sh` in its own session reads process
 * ids from a pipe that only we hold open, so the pipe ends when we die.
 */
export function startWatchdog(): Watchdog {
  const shell = spawn("sh", ["-c", script], { detached: true, stdio: ["pipe", "ignore", "ignore"] });
  shell.on("error", () => {});
  shell.stdin.on("error", () => {});
  shell.unref();
  return {
    watch: (pid) => void shell.stdin.write(`${pid}\n`),
    dismiss: () => void shell.kill("SIGKILL"),
  };
}

/** Calls `end` at the first signal that asks this program to end, and ignores later signals. Returns a function that makes the same call by hand. */
export function endOnSignals(end: () => Promise<void>): () => Promise<void> {
  let ending: Promise<void> | null = null;
  const endOnce = () => {
    ending ??= end();
    return ending;
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => void endOnce());
  return endOnce;
}
