import { writeFile } from "node:fs/promises";
import { Command } from "commander";
import { CliFailure } from "../failure.ts";
import { count, print, printJson, startProgress } from "../output.ts";
import { openTarget, type TargetOptions, withTarget } from "../target/open-target.ts";
import { type DirectoryExport, exportDirectory } from "../write/export-directory.ts";
import { readLive } from "../write/live-directory.ts";

type Options = TargetOptions & { readonly json?: boolean; readonly assignmentsFile?: string };

/** More than this is slow to read as YAML. */
const maxInlineAssignments = 20_000;

export function exportCommand(): Command {
  return withTarget(new Command("export"))
    .description("Prints KV as a topology file. Applying what it prints changes nothing.")
    .option("--assignments-file <path>", "write the assignments there, a line each, and name that file in the topology")
    .option("--json", "the topology as JSON")
    .addHelpText(
      "after",
      `
  podctl export > topology.yaml

The same KV gives the same file. Secrets in it are sealed; comments of the file it was once applied from are lost.`,
    )
    .action(async ({ json, assignmentsFile, ...options }: Options) => {
      const target = await openTarget(options);
      const progress = startProgress("keys read", null);
      const exported = exportDirectory();
      await readLive(target.openKv(), exported.see, progress.advance);
      progress.end();
      const directory = exported.end();
      if (assignmentsFile !== undefined) await writeAssignments(assignmentsFile, directory);
      else if (directory.assignments.length > maxInlineAssignments) {
        throw new CliFailure(
          `${count(directory.assignments.length)} assignments are too many for YAML; name a file for them by --assignments-file`,
        );
      }
      const topology = directory.topology(assignmentsFile);
      if (json) printJson(topology);
      else print(directory.yaml(topology).trimEnd());
    });
}

async function writeAssignments(path: string, { assignments }: DirectoryExport): Promise<void> {
  await writeFile(path, assignments.map(([prefix, pod]) => `${prefix}\t${pod}\n`).join(""));
}
