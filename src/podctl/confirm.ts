import { confirm, isCancel, updateSettings } from "@clack/prompts";
import { CliFailure } from "./failure.ts";
import { asLines, note, print } from "./output.ts";

type Asking = { readonly json?: boolean; readonly yes?: boolean };

/**
 * With `--json`, prints to standard error, because standard output must be only JSON. With `--json --yes`, prints nothing, because podctl does not
 * ask the operator.
 */
export function showWrite(lines: readonly string[], { json, yes }: Asking): void {
  if (json && yes) return;
  const show = json ? note : print;
  for (const line of asLines(lines)) show(line);
}

/** Ctrl-D ends the input, and a prompt without input would never return. So Ctrl-D cancels, as Ctrl-C does. */
const cancelKeys = { "\u0004": "cancel" } as const;

/** Throws a CliFailure if the operator does not answer yes. */
export async function confirmWrite(question: string, yes: boolean | undefined): Promise<void> {
  if (yes === true) return;
  if (process.stdin.isTTY !== true)
    throw new CliFailure("standard input is not a terminal, so podctl cannot ask; pass --yes to write");
  updateSettings({ aliases: cancelKeys });
  const { stdin: input, stderr: output } = process;
  const answer = await confirm({ message: question, initialValue: false, input, output });
  if (isCancel(answer) || !answer) throw new CliFailure("nothing was written");
}
