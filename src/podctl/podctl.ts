import { enableCompileCache } from "node:module";
import { describeError } from "./failure.ts";
import { note } from "./output.ts";

// A short command spends half of its time on stripping types from modules, so Node keeps the stripped modules in its cache.
enableCompileCache();

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // EPIPE means that the reader of our output, such as `head`, has read enough. We do not exit, so that the command completes what it has begun.
  if (error.code === "EPIPE") return;
  note(`podctl: standard output: ${error.message}`);
  process.exit(1);
});
process.stderr.on("error", () => {});

try {
  // npm runs a script in this package's folder, but the operator writes paths relative to the folder where npm was called.
  const { npm_lifecycle_event: script, INIT_CWD: calledIn } = process.env;
  if (script === "podctl" && calledIn) process.chdir(calledIn);
  const { createProgram } = await import("./program.ts");
  await (await createProgram(process.argv.slice(2))).parseAsync();
} catch (error) {
  note(`podctl: ${describeError(error)}`);
  process.exitCode = 1;
}
