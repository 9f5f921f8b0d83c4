import { confirm, isCancel } from "@clack/prompts";
import { CliFailure } from "./failure.ts";

/** `--yes`, or the operator's own word on a terminal. */
export async function confirmWrite(question: string, yes: boolean | undefined): Promise<void> {
  if (yes === true) return;
  if (process.stdin.isTTY !== true)
    throw new CliFailure("nobody is there to be asked; pass --yes to write without asking");
  const answer = await confirm({ message: question, initialValue: false, output: process.stderr });
  if (isCancel(answer) || !answer) throw new CliFailure("nothing was written");
}
