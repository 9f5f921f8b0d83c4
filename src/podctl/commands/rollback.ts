import { Command } from "commander";
import { confirmWrite, showWrite } from "../confirm.ts";
import { counted, print, printJson } from "../output.ts";
import { openTarget, type TargetOptions, withTarget } from "../target/open-target.ts";
import { refuseToUndoMove } from "../write/moving.ts";
import { readLastWrite, undoWrite } from "../write/undo-write.ts";

type Options = TargetOptions & { readonly json?: boolean; readonly yes?: boolean };

export function rollbackCommand(): Command {
  return withTarget(new Command("rollback"))
    .description("Puts back, byte for byte, what the last apply, assign, unassign, set, block or unblock replaced.")
    .option("--yes", "do not ask for confirmation")
    .option("--json", "the result as JSON")
    .addHelpText(
      "after",
      `
KV keeps what the last ten writes replaced: each further rollback undoes one more write. A rollback also undoes an interrupted apply.
If a rollback is interrupted, the next one completes it. A rollback does not undo a step of a move. Use \`podctl move --back\` for that.`,
    )
    .action(async (options: Options) => {
      const target = await openTarget(options);
      const kv = target.openKv();
      const last = await readLastWrite(kv);
      const { index, former, before } = last;
      const to = before.record?.revision ?? 0;
      await refuseToUndoMove(kv, former);
      const records = former.size - 1;
      showWrite(
        [
          `${target.name} goes back from revision ${index.revision} (${index.by}, ${index.at}) to ${to}: ${counted(records, "record")}.`,
        ],
        options,
      );
      await confirmWrite(`Write this to ${target.name}?`, options.yes);
      await undoWrite(kv, last);
      if (options.json) printJson({ from: index.revision, to, records });
      else print(`Revision ${to} is restored.`);
    });
}
