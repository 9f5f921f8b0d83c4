/** `npm run podctl -- …`: the operator's commands. */
import { APIError } from "cloudflare/core/error";
import { CliFailure } from "./failure.ts";
import { describeApiError } from "./kv-call.ts";
import { note } from "./output.ts";
import { createProgram } from "./program.ts";

try {
  await createProgram().parseAsync();
} catch (error) {
  note(`podctl: ${messageOf(error)}`);
  process.exitCode = error instanceof CliFailure ? error.exitCode : 1;
}

function messageOf(error: unknown): string {
  if (error instanceof APIError) return describeApiError(error);
  return error instanceof Error ? error.message : "unknown error";
}
