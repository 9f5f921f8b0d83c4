import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import type { Stack } from "../../src/local/stack.ts";
import { writeStackFile } from "../../src/local/stack-files.ts";

/** Lets podctl move groups on a test file's stack. `env` is for its processes, and `folder` is for the state of the moves. */
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
