/** `npm run podctl -- …`: the operator's commands, one file each. */
import { Command } from "commander";
import { keysCommand } from "./keys.ts";
import { sealCommand } from "./seal.ts";

const program = new Command("podctl")
  .description("Keeps the directory of a registry-edge deployment.")
  .addCommand(keysCommand())
  .addCommand(sealCommand())
  .showHelpAfterError();

try {
  await program.parseAsync();
} catch (error) {
  console.error(`podctl: ${error instanceof Error ? error.message : "unknown error"}`);
  process.exitCode = 1;
}
