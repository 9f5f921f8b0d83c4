/** A stack with real Pods and a folder for a test's files. Both are removed at the end, whatever happened. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { type Stack, type StackOptions, startStack } from "../../src/local/stack.ts";

export type Stage = {
  readonly stack: Stack;
  /** `host:port` of the edge, as in an image's reference. */
  readonly host: string;
  readonly dir: string;
  close(): Promise<void>;
};

export async function openStage(
  pods: NonNullable<StackOptions["pods"]>,
  options: Pick<
    StackOptions,
    "signingKeys" | "sealingKeys" | "topology" | "env" | "gateways" | "bodyLimitBytes" | "oneRegistry"
  > = {},
): Promise<Stage> {
  const dir = await mkdtemp(`${tmpdir()}/registry-edge-e2e-`);
  const remove = () => rm(dir, { recursive: true, force: true });
  try {
    const stack = await startStack({ pods, edgePort: 0, stateDir: `${dir}/state`, ...options });
    const close = async () => {
      try {
        await stack.stop();
      } finally {
        await remove();
      }
    };
    return { stack, host: new URL(stack.edge).host, dir, close };
  } catch (error) {
    await remove();
    throw error;
  }
}
