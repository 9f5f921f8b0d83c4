import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { type Stack, type StackOptions, startStack } from "../../src/local/stack.ts";

/** A stack with toy Pods for one test file, on free ports and with state of its own. */
export function useStack(options: StackOptions = {}): { readonly current: Stack } {
  const stateDir = mkdtempSync(join(tmpdir(), "registry-edge-"));
  const holder: { stack: Stack | null } = { stack: null };
  beforeAll(async () => {
    holder.stack = await startStack({ edgePort: 0, stateDir: join(stateDir, "state"), ...options });
  });
  afterAll(async () => {
    await holder.stack?.stop();
    rmSync(stateDir, { recursive: true, force: true });
  });
  return {
    get current() {
      if (holder.stack === null) throw new Error("the stack has not started");
      return holder.stack;
    },
  };
}

/** The directory of the example without its default Pod. */
export const withoutDefault = (topology: string): string => topology.replace(/^default:.*$/m, "");

/** The stores of a topology's two Pods, each replaced. */
export const withStores =
  (podA: string, podB: string) =>
  (topology: string): string =>
    topology
      .split(/^ {6}stores:\n(?: {8}.*\n)+/m)
      .reduce((before, after, index) => `${before}      stores: ${index === 1 ? podA : podB}\n${after}`);
