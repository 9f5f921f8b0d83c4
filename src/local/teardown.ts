/** Ends all servers and processes that a program has started. If the program dies first, its watchdog kills the processes. */
import { spawn } from "node:child_process";

export type Stop = () => Promise<void>;

export class Teardown {
  readonly watchdog: Watchdog = startWatchdog();
  readonly #stops: Stop[] = [];

  add<T extends { stop: Stop }>(started: T): T {
    this.#stops.push(() => started.stop());
    return started;
  }

  /** Stops all servers and processes at the same time, because none of them has to wait for another. */
  async run(): Promise<void> {
    await Promise.allSettled(this.#stops.splice(0).map((stop) => stop()));
    this.watchdog.dismiss();
  }
}

export type Watchdog = {
  watch(pid: number): void;
  /** Ends the watchdog. All processes that it watched must have ended before. */
  dismiss(): void;
};

const script = 'pids=; while read -r pid; do pids="$pids $pid"; done; for pid in $pids; do kill -KILL "$pid"; done';

/**
 * Kills our child processes if this process dies without a chance to end them. The pipe to an `sh` in its own session ends when we die, and the `sh`
 * then kills these processes.
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

/** Calls `end` at the first signal that asks this program to end, and ignores later signals. The returned function does the same without a signal. */
export function endOnSignals(end: () => Promise<void>): () => Promise<void> {
  let ending: Promise<void> | null = null;
  const endOnce = () => {
    ending ??= end();
    return ending;
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => void endOnce());
  return endOnce;
}
