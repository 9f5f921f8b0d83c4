/**
 * Ends our child processes when this process dies without a chance to do it itself. One `sh` in its own session reads
 * process ids from a pipe that only we hold open: its end is our death.
 */
import { spawn } from "node:child_process";

export type Watchdog = {
  watch(pid: number): void;
  /** Forgets all: what it watched has been ended. */
  dismiss(): void;
};

const script = 'pids=; while read -r pid; do pids="$pids $pid"; done; for pid in $pids; do kill -KILL "$pid"; done';

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
