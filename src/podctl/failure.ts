import type { Result } from "../lib/result.ts";

/** A failure that the operator can correct. Its message is printed without a stack trace. */
export class CliFailure extends Error {
  override name = "CliFailure";
  readonly exitCode: number;

  constructor(message: string, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Returns the value of a result. An error ends the command with its text. */
export function orFail<T>(result: Result<T, string>): T {
  if (result.ok) return result.value;
  throw new CliFailure(result.error);
}
