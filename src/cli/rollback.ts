import { Command } from "commander";
import type { Former, HistoryIndex } from "../directory/history.ts";
import { directoryKey, historyKey } from "../directory/keys.ts";
import type { DirectoryRecord } from "../directory/records.ts";
import { settingsOf, settingsSteps } from "../directory/settings-steps.ts";
import { confirmWrite } from "./confirm.ts";
import { CliFailure } from "./failure.ts";
import { readFormer, readHistoryIndex, removeHistory } from "./history.ts";
import type { KvStore } from "./kv-store.ts";
import { parseSettings } from "./live-directory.ts";
import { counted, print, printJson, startProgress } from "./output.ts";
import { openTarget, type TargetOptions, withTarget } from "./target.ts";
import { type Write, writeRecords } from "./write-directory.ts";

type Options = TargetOptions & { readonly json?: boolean; readonly yes?: boolean };

export function rollbackCommand(): Command {
  return withTarget(new Command("rollback"))
    .description("Puts back, byte for byte, what the last apply, assign or block replaced.")
    .option("--yes", "do not ask")
    .option("--json", "the result as JSON")
    .addHelpText(
      "after",
      `
Run again it undoes the write before that; the last ten are kept. An apply that was cut off is undone as well.
A rollback that was cut off is finished by the next one.`,
    )
    .action(async (options: Options) => {
      const target = await openTarget(options);
      const kv = target.openKv();
      const settings = await readSettings(kv);
      const index = await readLastIndex(kv, settings);
      const former = await readFormer(kv, index);
      const before = former.get(directoryKey) ?? null;
      const to = before === null ? 0 : parseSettings(before).revision;
      const records = former.size - 1;
      if (!options.json) {
        print(
          `${target.name}: back from revision ${index.revision} (${index.by}, ${index.at}) to ${to}: ${counted(records, "record")}.`,
        );
      }
      await confirmWrite(`Write this to ${target.name}?`, options.yes);
      await undo(kv, { index, former, before, settings });
      if (options.json) printJson({ from: index.revision, to, records });
      else print(`Revision ${to} is back.`);
    });
}

async function readSettings(kv: KvStore): Promise<DirectoryRecord | null> {
  const text = (await kv.read([directoryKey])).get(directoryKey) ?? null;
  return text === null ? null : parseSettings(text);
}

/** Of a write that did not end, else of the last that did. */
async function readLastIndex(kv: KvStore, settings: DirectoryRecord | null): Promise<HistoryIndex> {
  const revision = settings?.revision ?? 0;
  const index = (await readHistoryIndex(kv, revision + 1)) ?? (await readHistoryIndex(kv, revision));
  if (index === null)
    throw new CliFailure(`nothing is kept of what revision ${revision} replaced, so it cannot be undone`);
  return index;
}

type Undo = {
  readonly index: HistoryIndex;
  readonly former: Former;
  /** The directory record's text. */
  readonly before: string | null;
  readonly settings: DirectoryRecord | null;
};

async function undo(kv: KvStore, { index, former, before, settings }: Undo): Promise<void> {
  const writes = [...former]
    .filter(([key]) => key !== directoryKey)
    .map(([key, text]): Write => (text === null ? { key, text } : { key, text: () => text }));
  const to = before === null ? { credentials: "own" as const } : settingsOf(parseSettings(before));
  const { revision } = index;
  await kv.write([[historyKey(revision), JSON.stringify({ ...index, undone: true })]]);
  const progress = startProgress("records put back", writes.length);
  await writeRecords(kv, writes, settingsSteps(settings, to), progress.advance);
  progress.end();
  if (before === null) await kv.remove([directoryKey]);
  else await kv.write([[directoryKey, before]]);
  await removeHistory(kv, (some) => some === revision);
}
