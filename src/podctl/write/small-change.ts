/** A write of one record that a command names, without a topology file: read, shown, confirmed, then written like any apply. */
import { directoryKey } from "../../directory/keys.ts";
import { changeOf } from "../../topology/difference.ts";
import { confirmWrite, showWrite } from "../confirm.ts";
import { CliFailure } from "../failure.ts";
import { print, printJson } from "../output.ts";
import type { Target } from "../target/target.ts";
import { describeUnfinished, readUnfinished } from "./history.ts";
import { directoryInKv } from "./live-directory.ts";
import { changeLines, viewOf } from "./plan-text.ts";
import { writeDirectory } from "./write-directory.ts";

export type SmallChangeOptions = { readonly json?: boolean; readonly yes?: boolean };
/** Null deletes the record. */
type Wanted = { readonly key: string; readonly after: object | null };

export async function makeSmallChange(target: Target, wanted: Wanted, options: SmallChangeOptions): Promise<void> {
  const { key, after } = wanted;
  const kv = target.openKv();
  const read = await kv.read([directoryKey, key]);
  const directory = directoryInKv(read.get(directoryKey) ?? null);
  const change = changeOf(key, read.get(key) ?? null, after);
  if (change === null) return sayNothingToDo(wanted, options);
  const unfinished = await readUnfinished(kv, directory.record);
  if (unfinished !== null) {
    throw new CliFailure(
      `${describeUnfinished(unfinished)}; complete it by \`podctl apply\`, or undo it by \`podctl rollback\``,
    );
  }
  showWrite(changeLines([change]), options);
  await confirmWrite(`Write this to ${target.name}?`, options.yes);
  const revision = await writeDirectory(kv, { directory, changes: [change] }, () => {});
  if (options.json) printJson({ changes: [viewOf(change)], applied: revision });
  else print(`Applied as revision ${revision}; \`podctl rollback\` undoes it.`);
}

function sayNothingToDo({ key, after }: Wanted, { json }: SmallChangeOptions): void {
  if (json) printJson({ changes: [], applied: null });
  else print(`Nothing to do: ${after === null ? `there is no ${key}` : `${key} says so already`}.`);
}
