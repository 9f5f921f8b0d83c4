import type { Result } from "../lib/result.ts";

/** A failure that the operator can correct. podctl prints its message and exits with 1. */
export class CliFailure extends Error {
  override name = "CliFailure";
}

/** Does one part of a command. If the part ends with a CliFailure, `left` follows its message: what is left behind, and what to do. */
export async function leavingBehind<T>(left: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof CliFailure) throw new CliFailure(`${error.message}; ${left}`);
    throw error;
  }
}

/** Returns the value of a result. Throws the error as a CliFailure, which ends the command. */
export function orFail<T>(result: Result<T, string>): T {
  if (result.ok) return result.value;
  throw new CliFailure(result.error);
}

/** Handles the error of reading a file that the operator named. If the path is a folder, Node's own message does not name it. */
export const cannotRead =
  (path: string, wanted: string) =>
  ({ code, message }: NodeJS.ErrnoException): never => {
    throw new CliFailure(`"${path}" cannot be read: ${code === "EISDIR" ? "it is a folder" : message}; want ${wanted}`);
  };

/** Returns what podctl says about an error that ends it. The message of an error that no code expects may quote a secret, so it is not shown. */
export function describeError(error: unknown): string {
  if (error instanceof CliFailure || isOfSystem(error)) return error.message;
  const { name, message, stack = "" } = error instanceof Error ? error : new Error();
  const place = /\/(src\/.*:\d+):\d+/.exec(stack.replace(message, ""))?.[1] ?? "an unknown place";
  return `a bug in podctl: ${name} at ${place}; report it with the command that you ran`;
}

/**
 * Whether a call of the operating system has failed. The message names the call and often a path, as in `ENOENT: no such file or directory, open
 * 'a.yaml'`.
 */
const isOfSystem = (error: unknown): error is Error => error instanceof Error && "syscall" in error;
