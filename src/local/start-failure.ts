/** Thrown if the start fails for a reason that the user can remove. Only the message is printed. */
export class StartFailure extends Error {
  override name = "StartFailure";
}

export const portInUse = (port: number): StartFailure =>
  new StartFailure(`Port ${port} of 127.0.0.1 is in use or needs root: free it, or choose another with PORT=.`);

/** Returns what a program prints when an error ends it: the message if the user can remove the cause, otherwise the whole error. */
export const printable = (error: unknown): unknown =>
  error instanceof StartFailure || isArgumentMistake(error) ? error.message : error;

/** Whether Node's `parseArgs` threw the error. */
const isArgumentMistake = (error: unknown): error is Error =>
  error instanceof TypeError && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS");
