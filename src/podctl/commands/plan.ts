import { Command } from "commander";
import { asLines, print, printJson } from "../output.ts";
import { openTarget, type TargetOptions, withTarget } from "../target/open-target.ts";
import { readTopology } from "../target/read-topology.ts";
import { cloudJson, cloudLines } from "../write/cloud-ages.ts";
import { isEmpty, makePlan } from "../write/make-plan.ts";
import { planJson, planLines } from "../write/plan-text.ts";

type Options = TargetOptions & { readonly json?: boolean };

const changesExitCode = 2;

export function planCommand(): Command {
  return withTarget(new Command("plan"))
    .description("Shows what `podctl apply` would change in KV, and writes nothing. Exits with 2 if there are changes.")
    .argument("[file]", "the topology file (default on the local stack: topology.example.yaml)")
    .option("--json", "the plan as JSON")
    .addHelpText(
      "after",
      `
\`podctl apply\` deletes the Pods and assignments in KV that the file does not have, and the plan shows them. \`podctl apply\` never deletes a
block, and never changes the assignment of a group that is being moved.

\`podctl plan\` prints a revision, which identifies the current state of KV. With \`--expect <revision>\`, \`podctl apply\` writes only if
KV still has that state.`,
    )
    .action(async (file: string | undefined, { json, ...options }: Options) => {
      const target = await openTarget(options);
      const { topology } = await readTopology(file, target);
      const plan = await makePlan(target.openKv(), topology);
      const { cloudFiles } = topology;
      if (json) printJson({ ...planJson(plan), clouds: cloudJson(cloudFiles) });
      else for (const line of asLines([...planLines(plan, target.name), ...cloudLines(cloudFiles)])) print(line);
      if (!isEmpty(plan)) process.exitCode = changesExitCode;
    });
}
