/**
 * Changes one record that a command names, without a topology file. podctl shows the change, asks for confirmation, and writes the change in the same
 * way as `podctl apply`.
 */
import { isDeepStrictEqual } from "node:util";
import { directoryKey } from "../../directory/keys.ts";
import { parseJsonObject } from "../../lib/json.ts";
import { type Change, changeOf } from "../../topology/difference.ts";
import { confirmWrite, showWrite } from "../confirm.ts";
import { CliFailure } from "../failure.ts";
import { print, printJson } from "../output.ts";
import type { KvStore } from "../target/kv-store.ts";
import type { Target } from "../target/target.ts";
import { deeperLines } from "./deeper-assignments.ts";
import { describeUnfinished, readUnfinished, waysOutOf } from "./history.ts";
import type { HistoryIndex } from "./history-records.ts";
import { type DirectoryInKv, directoryInKv, raiseDepth, refuseNewer } from "./live-directory.ts";
import { type Holder, holderIn } from "./lost-conditions.ts";
import { keysAbove, refuseBelowMoving, refuseMoving } from "./moving.ts";
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
  const kv = target.openKv();
  const shown = await readBefore(kv, wanted.key);
  const changes = changesOf(shown, wanted);
  if (changes.length === 0) return sayNothingToDo(wanted.already, options);
  refuseUnfinished(shown);
  const holder = holderOf(shown);
  const deeper = await Promise.all(changes.map((change) => deeperLines(kv, change)));
  showWrite([...changeLines(changes), ...warningLines(changes, holder), ...deeper.flat()], options);
  await confirmWrite(writeQuestion(target.name, changes, holder), options.yes);
  await refuseChanged(kv, wanted.key, shown);
  const revision = await writeDirectory(kv, { directory: shown.directory, changes });
  if (options.json) printJson({ changes: changes.map(viewOf), applied: revision });
  else print(`Applied as revision ${revision}; \`podctl rollback\` undoes it.`);
}

type Before = {
  readonly directory: DirectoryInKv;
  /** The texts of the directory record, of the key that changes, and of the assignments of all shorter prefixes. */
  readonly texts: ReadonlyMap<string, string | null>;
  readonly unfinished: HistoryIndex | null;
};

async function readBefore(kv: KvStore, key: string): Promise<Before> {
  const texts = await kv.read([directoryKey, key, ...keysAbove(key)]);
  for (const [each, text] of texts) refuseNewer(each, text);
  const directory = directoryInKv(texts.get(directoryKey) ?? null);
  return { directory, texts, unfinished: await readUnfinished(kv, directory.record) };
}

const holderOf = ({ directory, texts }: Before): Holder =>
  holderIn((key) => parseJsonObject(texts.get(key) ?? ""), directory.record?.default);

function changesOf({ directory, texts }: Before, { key, after }: Wanted): readonly Change[] {
  const before = texts.get(key) ?? null;
  refuseMoving(key, before);
  const record = after(before);
  const change = changeOf(key, before, record);
  if (change !== null && change.action !== "change") refuseBelowMoving(key, texts);
  const raised = record === null ? null : raiseDepth(key, directory);
  return [change, raised].filter((some) => some !== null);
}

function refuseUnfinished({ unfinished }: Before): void {
  if (unfinished === null) return;
  throw new CliFailure(
    `${describeUnfinished(unfinished)}. Wait until it is; if no podctl is at work on it any more, ${waysOutOf(unfinished)}`,
  );
}

/** Refuses to go on if KV changed while the operator was reading the question, because another operator's write could be lost. */
async function refuseChanged(kv: KvStore, key: string, shown: Before): Promise<void> {
  const now = await readBefore(kv, key);
  if (isDeepStrictEqual(now, shown)) return;
  throw new CliFailure(
    `KV changed since this change was shown: ${describeNewer(now, shown)}; nothing was written, so run the command again`,
  );
}

function describeNewer(now: Before, shown: Before): string {
  const other = [...now.texts.keys()].find((key) => now.texts.get(key) !== shown.texts.get(key));
  if (other !== undefined) return `"${other}" has another text now`;
  return now.unfinished === null ? "a write has ended" : describeUnfinished(now.unfinished);
}

function sayNothingToDo(already: string, { json }: SmallChangeOptions): void {
  if (json) printJson({ changes: [], applied: null });
  else print(`Nothing to do: ${already}.`);
}
