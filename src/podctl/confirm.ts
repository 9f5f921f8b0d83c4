import { confirm, isCancel } from "@clack/prompts";
import { CliFailure } from "./failure.ts";
import { note, print } from "./output.ts";

type Asking = { readonly json?: boolean; readonly yes?: boolean };

/** What a write will do. Beside JSON it stands on standard error, for whoever is asked about it. */
export function showWrite(lines: readonly string[], { json, yes }: Asking): void {
  if (json && yes) return;
  const show = json ? note : print;
  for (const line of lines) show(line);
}

/** `--yes`, or the operator's own word on a terminal. */
export async function confirmWrite(question: string, yes: boolean | undefined): Promise<void> {
  if (yes === true) return;
  if (process.stdin.isTTY !== true)
    throw new CliFailure("nobody is there to be asked; pass --yes to write without asking");
  const answer = await confirm({ message: question, initialValue: false, output: process.stderr });
  if (isCancel(answer) || !answer) throw new CliFailure("nothing was written");
}
