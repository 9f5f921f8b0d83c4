import type { Result } from "../lib/result.ts";

/** A failure that the operator can correct. podctl prints its message and exits with `exitCode`. */
export class CliFailure extends Error {
  override name = "CliFailure";
  readonly exitCode: number;

  constructor(message: string, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Returns the value of a result. Throws the error as a CliFailure, which ends the command. */
export function orFail<T>(result: Result<T, string>): T {
  if (result.ok) return result.value;
  throw new CliFailure(result.error);
}
