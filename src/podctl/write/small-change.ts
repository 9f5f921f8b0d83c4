/**
 * Writes one record that a command names, without a topology file. The record is read, the change is shown and confirmed, and then it is written like
 * any apply.
 */
import { directoryKey, kindOf, nameIn } from "../../directory/keys.ts";
import { componentsOf, type Prefix } from "../../oci/repository-name.ts";
import { type Change, changeOf } from "../../topology/difference.ts";
import { contentOf, isWithin } from "../../topology/record-text.ts";
import { confirmWrite, showWrite } from "../confirm.ts";
import { CliFailure } from "../failure.ts";
import { print, printJson } from "../output.ts";
import type { Target } from "../target/target.ts";
import { describeUnfinished, readUnfinished } from "./history.ts";
import { type DirectoryInKv, directoryInKv } from "./live-directory.ts";
import { keysAbove, refuseBelowMoving } from "./moving.ts";
import { changeLines, viewOf } from "./plan-text.ts";
import { warningLines, writeQuestion } from "./warnings.ts";
import { writeDirectory } from "./write-directory.ts";

export type SmallChangeOptions = { readonly json?: boolean; readonly yes?: boolean };
type Wanted = {
  readonly key: string;
  /** Returns the record that replaces the text in KV; null deletes the key. Throws a CliFailure if the text cannot be changed. */
  readonly after: (before: string | null) => object | null;
  /** The message if nothing has to change. */
  readonly already: string;
};

export async function makeSmallChange(target: Target, wanted: Wanted, options: SmallChangeOptions): Promise<void> {
  const { key, after, already } = wanted;
  const kv = target.openKv();
  const read = await kv.read([directoryKey, key, ...keysAbove(key)]);
  const directory = directoryInKv(read.get(directoryKey) ?? null);
  const before = read.get(key) ?? null;
  const record = after(before);
  const change = changeOf(key, before, record);
  if (change !== null && change.action !== "change") refuseBelowMoving(key, read);
  const raised = record === null ? null : raiseDepth(key, directory);
  const changes = [change, raised].filter((some) => some !== null);
  if (changes.length === 0) return sayNothingToDo(already, options);
  const unfinished = await readUnfinished(kv, directory.record);
  if (unfinished !== null) {
    throw new CliFailure(
      `${describeUnfinished(unfinished)}; complete it by \`podctl apply\`, or undo it by \`podctl rollback\``,
    );
  }
  showWrite([...changeLines(changes), ...warningLines(changes)], options);
  await confirmWrite(writeQuestion(target.name, changes), options.yes);
  const revision = await writeDirectory(kv, { directory, changes }, () => {});
  if (options.json) printJson({ changes: changes.map(viewOf), applied: revision });
  else print(`Applied as revision ${revision}; \`podctl rollback\` undoes it.`);
}

/**
 * Returns the change that raises the directory's depth, or null if none is needed. The edge finds an assignment only if its prefix is not deeper than
 * that depth.
 */
function raiseDepth(key: string, { record, text }: DirectoryInKv): Change | null {
  if (kindOf(key) !== "route" || record === null || text === null) return null;
  const depth = componentsOf(nameIn(key) as Prefix);
  return isWithin(depth, record)
    ? null
    : { action: "change", key: directoryKey, before: text, after: { ...contentOf(record), depth } };
}

function sayNothingToDo(already: string, { json }: SmallChangeOptions): void {
  if (json) printJson({ changes: [], applied: null });
  else print(`Nothing to do: ${already}.`);
}
