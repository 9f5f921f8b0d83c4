/** An end that the operator can mend: its lines are printed, and nothing else. */
export class CliFailure extends Error {
  override name = "CliFailure";
  readonly exitCode: number;

  constructor(message: string, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}
