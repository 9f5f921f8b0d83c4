import { Command } from "commander";
import { print, printJson } from "../output.ts";
import { openTarget, type TargetOptions, withTarget } from "../target/open-target.ts";
import { readTopology } from "../target/read-topology.ts";
import { cloudJson, cloudLines } from "../write/cloud-ages.ts";
import { isEmpty, makePlan } from "../write/make-plan.ts";
import { planJson, planLines } from "../write/plan-text.ts";

type Options = TargetOptions & { readonly json?: boolean };

const changesExitCode = 2;

export function planCommand(): Command {
  return withTarget(new Command("plan"))
    .description(
      "Shows what applying a topology file would change in KV. Writes nothing. Exits with 2 if there are changes.",
    )
    .argument("[file]", "the topology file; topology.example.yaml by default on the local stack")
    .option("--json", "the plan as JSON")
    .addHelpText(
      "after",
      `
An apply deletes records that the file does not ask for, except blocks. \`podctl plan\` prints a revision, which identifies the current state of KV.
\`podctl apply --expect <revision>\` refuses to write if KV has changed since the plan.`,
    )
    .action(async (file: string | undefined, { json, ...options }: Options) => {
      const target = await openTarget(options);
      const { topology } = await readTopology(file, target);
      const plan = await makePlan(target.openKv(), topology);
      const [clouds, now] = [topology.cloudFiles, new Date()];
      if (json) printJson({ ...planJson(plan), clouds: cloudJson(clouds, now) });
      else for (const line of [...planLines(plan, target.name), ...cloudLines(clouds, now)]) print(line);
      if (!isEmpty(plan)) process.exitCode = changesExitCode;
    });
}
