import type { Result } from "../lib/result.ts";

/** A failure that the operator can correct. podctl prints its message and exits with 1. */
export class CliFailure extends Error {
  override name = "CliFailure";
}

/** If `work` ends with a CliFailure, adds `left` to its message. `left` says what is left behind, and what the operator must do. */
export async function leavingBehind<T>(left: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof CliFailure) throw new CliFailure(`${error.message}; ${left}`);
    throw error;
  }
}

export function orFail<T>(result: Result<T, string>): T {
  if (result.ok) return result.value;
  throw new CliFailure(result.error);
}

/** Handles the error of reading a file that the operator named. If this is a folder, Node's own message does not name the path. */
export const cannotRead =
  (path: string, wanted: string) =>
  ({ code, message }: NodeJS.ErrnoException): never => {
    throw new CliFailure(`"${path}" cannot be read: ${code === "EISDIR" ? "it is a folder" : message}; want ${wanted}`);
  };

/** Returns the message for an error that ends podctl. The text of an unexpected error is not shown, because it may quote a secret. */
export function describeError(error: unknown): string {
  if (error instanceof CliFailure || isOfSystem(error)) return error.message;
  const { name, message, stack = "" } = error instanceof Error ? error : new Error();
  const place = /\/(src\/.*:\d+):\d+/.exec(stack.replace(message, ""))?.[1] ?? "an unknown place";
  return `a bug in podctl: ${name} at ${place}; report it with the command that you ran`;
}

/** Whether a call of the operating system has failed. Node's message then names the call and often a path, which is enough for the operator. */
const isOfSystem = (error: unknown): error is Error => error instanceof Error && "syscall" in error;
