import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import type { MoveRecord, Moving } from "../../src/directory/moves.ts";
import type { PodId } from "../../src/directory/pod-id.ts";
import type { Stack } from "../../src/local/stack.ts";
import { writeStackFile } from "../../src/local/stack-files.ts";

/** Lets podctl move groups on a test file's stack. Pass `env` to podctl's processes, and `folder` as their `--state`. */
export function useMoves<E extends Readonly<Record<string, string>>>(stack: { readonly current: Stack }, more: E) {
  const folder = mkdtempSync(join(tmpdir(), "registry-edge-moves-"));
  const env = { NO_COLOR: "1", PODCTL_STACK: "", ...more };
  beforeAll(async () => {
    env.PODCTL_STACK = `${stack.current.stateDir}/stack.json`;
    await writeStackFile(stack.current, env.PODCTL_STACK);
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  return { env, folder };
}

/** Returns the `move` of an assignment whose group is now in this phase of a move. */
export function moveIn(phase: Moving["phase"], pod: string): MoveRecord {
  const to = pod as PodId;
  if (phase === "switch") return { to, phase: "settle", since: timeIn(3_600) };
  if (phase === "return") return { to, phase: "freeze", since: timeIn(-60), settledSince: timeIn(-600) };
  return { to, phase, since: timeIn(-60) };
}

export const timeIn = (seconds: number): string => new Date(Date.now() + seconds * 1_000).toISOString();
