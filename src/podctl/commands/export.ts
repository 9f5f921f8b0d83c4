import { writeFile } from "node:fs/promises";
import { dirname, isAbsolute } from "node:path";
import { Command } from "commander";
import { directoryKey } from "../../directory/keys.ts";
import type { LiveRecord } from "../../topology/difference.ts";
import {
  type ExportedTopology,
  exportTopology,
  formatTopology,
  formatTopologyJson,
  podInFile,
} from "../../topology/export.ts";
import { CliFailure } from "../failure.ts";
import { count, note, print, startProgress } from "../output.ts";
import { openTarget, type TargetOptions, withTarget } from "../target/open-target.ts";
import { refuseLostDirectory } from "../write/history.ts";
import { orDamaged, readLive } from "../write/live-directory.ts";
import { describeMoving, movingIn } from "../write/moving.ts";

type Options = TargetOptions & { readonly json?: boolean; readonly assignmentsFile?: string };

/** More assignments than this need `--assignments-file`, because podctl parses long YAML slowly. */
const maxInlineAssignments = 20_000;

export function exportCommand(): Command {
  return withTarget(new Command("export"))
    .description("Prints the directory in KV as a topology file. If you apply that file, nothing changes.")
    .option(
      "--assignments-file <path>",
      "podctl writes the assignments that have no settings into this file, and the printed topology has only the file's path and the other assignments. If the path is relative, save the topology in the current folder, because `podctl apply` starts at the topology's folder",
    )
    .option("--json", "the topology as JSON")
    .addHelpText(
      "after",
      `
  podctl export > topology.yaml

The secrets in the printed file are sealed: only the Worker can open them. KV does not keep the comments of a topology file, so the
printed file has none. Two exports are equal if KV has not changed in between. For each group that is being moved, a line on standard
error names the Pod to which the file assigns it: in the phase settle the new Pod, and before that the old one.`,
    )
    .action(async ({ json, assignmentsFile, ...options }: Options) => {
      const kv = (await openTarget(options)).openKv();
      const progress = startProgress("keys read", null);
      const records: LiveRecord[] = [];
      for await (const page of readLive(kv)) {
        records.push(...page);
        progress.advance(page.length);
      }
      progress.end();
      // Without the directory record, the exported file would have no default Pod, and an apply of this file would change much.
      if (!records.some(({ key }) => key === directoryKey)) await refuseLostDirectory(kv);
      const exported = orDamaged(exportTopology(records));
      if (assignmentsFile !== undefined) {
        await writeAssignments(assignmentsFile, exported);
        if (!isAbsolute(assignmentsFile) && dirname(assignmentsFile) !== ".") note(whereToSave(assignmentsFile));
      } else if (exported.assignments.length > maxInlineAssignments) {
        throw new CliFailure(
          `${count(exported.assignments.length)} assignments are too many for YAML; name a file for them with --assignments-file`,
        );
      }
      for (const line of records.flatMap(movingLines)) note(line);
      const members = exported.members(assignmentsFile);
      if (json) print(formatTopologyJson(members));
      else print(formatTopology(members).slice(0, -1));
    });
}

function movingLines({ key, text }: LiveRecord): readonly string[] {
  const moving = movingIn(key, text);
  return moving === null ? [] : [`${describeMoving(key, moving)}, and the file assigns it to ${podInFile(moving)}`];
}

const whereToSave = (path: string): string =>
  `podctl reads the assignments file "${path}" relative to the topology's folder, so save the topology in "${process.cwd()}"`;

async function writeAssignments(path: string, { assignments }: ExportedTopology): Promise<void> {
  await writeFile(path, assignments.map(([prefix, pod]) => `${prefix}\t${pod}\n`).join(""));
}
