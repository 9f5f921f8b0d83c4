import { Command } from "commander";
import { confirmWrite, showWrite } from "../confirm.ts";
import { colors, counted, print, printJson } from "../output.ts";
import { openTarget, type TargetOptions, withTarget } from "../target/open-target.ts";
import { describeWrite } from "../write/history.ts";
import { changeLines } from "../write/plan-text.ts";
import { holderAfter, type Rollback, rollBack } from "../write/roll-back.ts";
import { warningLines, writeQuestion } from "../write/warnings.ts";

type Options = TargetOptions & { readonly json?: boolean; readonly yes?: boolean };

export function rollbackCommand(): Command {
  return withTarget(new Command("rollback"))
    .description(
      "Undoes the last apply, assign, unassign, set, block or unblock: puts back in KV, byte for byte, what that command replaced.",
    )
    .option("--yes", "do not ask for confirmation")
    .option("--json", "the result as JSON")
    .addHelpText(
      "after",
      `
KV keeps what the last ten writes replaced, and each rollback undoes one of them, the latest first. If an apply was interrupted, a
rollback undoes what that apply has written. If a rollback is interrupted, run it again. A rollback refuses to undo a step of
\`podctl move\`: use \`podctl move --back\`.`,
    )
    .action(async (options: Options) => {
      const target = await openTarget(options);
      const { last } = await rollBack(target.openKv(), async (shown) => {
        showWrite(rollbackLines(shown, target.name), options);
        await confirmWrite(writeQuestion(target.name, shown.changes, holderAfter(shown)), options.yes);
      });
      const [from, to] = [last.index.revision, revisionBefore(last)];
      if (options.json) printJson({ from, to, records: last.former.size - 1 });
      else print(`Revision ${to} is restored.`);
    });
}

function rollbackLines(shown: Rollback, target: string): readonly string[] {
  const { last, changes, unreadable, uncompared } = shown;
  const records = counted(last.former.size - 1, "record");
  const more = uncompared === 0 ? [] : [`  and ${counted(uncompared, "more assignment")}, not compared with KV`];
  return [
    `${target} goes back from ${describeWrite(last.index)} to ${revisionBefore(last)}: ${records}.`,
    ...changeLines(changes),
    ...warningLines(changes, holderAfter(shown)),
    ...unreadable.map((key) =>
      colors.red(`  ! ${key} was damaged before that write, so after this rollback the edge cannot read it`),
    ),
    ...more,
  ];
}

const revisionBefore = ({ before }: Rollback["last"]): number => before.record?.revision ?? 0;
