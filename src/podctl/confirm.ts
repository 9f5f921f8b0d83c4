import { confirm, isCancel } from "@clack/prompts";
import { CliFailure } from "./failure.ts";
import { note, print } from "./output.ts";

type Asking = { readonly json?: boolean; readonly yes?: boolean };

/** Prints what a write will do. With `--json` this goes to standard error, so that standard output holds only JSON. */
export function showWrite(lines: readonly string[], { json, yes }: Asking): void {
  if (json && yes) return;
  const show = json ? note : print;
  for (const line of lines) show(line);
}

/** Ends the command unless `--yes` was given or the operator says yes on a terminal. */
export async function confirmWrite(question: string, yes: boolean | undefined): Promise<void> {
  if (yes === true) return;
  if (process.stdin.isTTY !== true)
    throw new CliFailure("standard input is not a terminal, so podctl cannot ask; pass --yes to write");
  const answer = await confirm({ message: question, initialValue: false, output: process.stderr });
  if (isCancel(answer) || !answer) throw new CliFailure("nothing was written");
}
