/** A write of a few records that a command names, without a topology file: read, shown, asked for, written like any apply. */

import { directoryKey } from "../../directory/keys.ts";
import { parseJson } from "../../lib/json.ts";
import { saysAlready } from "../../topology/content.ts";
import type { Change } from "../../topology/difference.ts";
import { confirmWrite, showWrite } from "../confirm.ts";
import { CliFailure } from "../failure.ts";
import { print, printJson } from "../output.ts";
import type { Target } from "../target/target.ts";
import { actor } from "./actor.ts";
import { describeUnfinished, readUnfinished } from "./history.ts";
import { jobOf } from "./job.ts";
import { parseSettings } from "./live-directory.ts";
import { changeLines, viewOf } from "./plan-text.ts";
import { writeDirectory } from "./write-directory.ts";

export type SmallChangeOptions = { readonly json?: boolean; readonly yes?: boolean };
/** Null deletes the record. */
type Wanted = { readonly key: string; readonly after: object | null };

export async function makeSmallChange(target: Target, wanted: Wanted, options: SmallChangeOptions): Promise<void> {
  const kv = target.openKv();
  const read = await kv.read([directoryKey, wanted.key]);
  const settingsText = read.get(directoryKey) ?? null;
  const settings = settingsText === null ? null : parseSettings(settingsText);
  const change = changeOf(wanted, read.get(wanted.key) ?? null);
  if (change === null) {
    return options.json
      ? printJson({ changes: [], applied: null })
      : print(`Nothing to do: ${wanted.after === null ? `there is no ${wanted.key}` : `${wanted.key} is so already`}.`);
  }
  const unfinished = await readUnfinished(kv, settings);
  if (unfinished !== null) {
    throw new CliFailure(
      `${describeUnfinished(unfinished)}; end it by \`podctl apply\`, or undo it by \`podctl rollback\``,
    );
  }
  showWrite(changeLines([change]), options);
  await confirmWrite(`Write this to ${target.name}?`, options.yes);
  const job = jobOf(
    { live: { settings, settingsText }, changes: [change] },
    { appliedAt: new Date(), appliedBy: actor() },
  );
  await writeDirectory(kv, job, () => {});
  if (options.json) printJson({ changes: [viewOf(change)], applied: job.revision });
  else print(`Applied as revision ${job.revision}; \`podctl rollback\` undoes it.`);
}

function changeOf({ key, after }: Wanted, before: string | null): Change | null {
  if (after === null) return before === null ? null : { action: "delete", key, before, after };
  if (before === null) return { action: "add", key, before, after };
  return saysAlready({ key, text: before, json: parseJson(before) }, after)
    ? null
    : { action: "change", key, before, after };
}
