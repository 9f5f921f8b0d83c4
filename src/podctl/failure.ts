import type { Result } from "../lib/result.ts";

/** An end that the operator can mend: its lines are printed, and nothing else. */
export class CliFailure extends Error {
  override name = "CliFailure";
  readonly exitCode: number;

  constructor(message: string, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** The value, or the end of the command. */
export function orFail<T>(result: Result<T, string>): T {
  if (result.ok) return result.value;
  throw new CliFailure(result.error);
}
