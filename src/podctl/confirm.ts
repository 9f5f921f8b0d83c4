import { confirm, isCancel } from "@clack/prompts";
import { CliFailure } from "./failure.ts";
import { note, print } from "./output.ts";

type Asking = { readonly json?: boolean; readonly yes?: boolean };

/** Shows what a write will do. With `--json` it goes to standard error, so that the operator sees what the question is about. */
export function showWrite(lines: readonly string[], { json, yes }: Asking): void {
  if (json && yes) return;
  const show = json ? note : print;
  for (const line of lines) show(line);
}

/** Returns if the operator said `--yes`, or confirms on a terminal. */
export async function confirmWrite(question: string, yes: boolean | undefined): Promise<void> {
  if (yes === true) return;
  if (process.stdin.isTTY !== true) throw new CliFailure("not a terminal; pass --yes to write without confirmation");
  const answer = await confirm({ message: question, initialValue: false, output: process.stderr });
  if (isCancel(answer) || !answer) throw new CliFailure("nothing was written");
}
