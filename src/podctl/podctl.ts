/** `npm run podctl -- …`: the operator's commands. */
import { CliFailure } from "./failure.ts";
import { note } from "./output.ts";
import { createProgram } from "./program.ts";

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // Whoever reads has seen enough, as `head`: what was begun is finished all the same.
  if (error.code === "EPIPE") return;
  note(`podctl: standard output: ${error.message}`);
  process.exit(1);
});
process.stderr.on("error", () => {});

try {
  // npm runs a script in this package's folder; paths are those of whoever called npm.
  const { npm_lifecycle_event: script, INIT_CWD: calledIn } = process.env;
  if (script === "podctl" && calledIn) process.chdir(calledIn);
  await createProgram().parseAsync();
} catch (error) {
  note(`podctl: ${error instanceof Error ? error.message : "unknown error"}`);
  process.exitCode = error instanceof CliFailure ? error.exitCode : 1;
}
