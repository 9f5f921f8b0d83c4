import { Command } from "commander";
import { confirmWrite, showWrite } from "../confirm.ts";
import { CliFailure } from "../failure.ts";
import { print, printJson } from "../output.ts";
import { openTarget, type TargetOptions, withTarget } from "../target/open-target.ts";
import { readTopology } from "../target/read-topology.ts";
import { applyPlan, checkApplied } from "../write/apply-plan.ts";
import { isEmpty, makePlan, type Plan } from "../write/make-plan.ts";
import { planJson, planLines } from "../write/plan-text.ts";

type Options = TargetOptions & { readonly json?: boolean; readonly yes?: boolean; readonly expect?: string };

export function applyCommand(): Command {
  return withTarget(new Command("apply"))
    .description("Makes KV what a topology file says: shows the plan, asks, and writes.")
    .argument("[file]", "the topology; for the local stack topology.example.yaml is the default")
    .option("--yes", "do not ask")
    .option("--expect <revision>", "refuse to write unless KV is at this revision, as `podctl plan` printed it")
    .option("--json", "plan and result as JSON")
    .addHelpText(
      "after",
      `
Pods and their keys are written before the routes that lead to them, deletes come last, unchanged records are left alone. An apply
that was cut off is finished by the next one. What it replaced is kept: \`podctl rollback\` puts it back.`,
    )
    .action(async (file: string | undefined, options: Options) => {
      const target = await openTarget(options);
      const kv = target.openKv();
      const { topology } = await readTopology(file, target);
      const plan = await makePlan(kv, topology);
      refuseChanged(plan, options.expect);
      if (isEmpty(plan) && options.json) return printJson({ ...planJson(plan), applied: null });
      showWrite(planLines(plan, target.name), options);
      if (isEmpty(plan)) return;
      await confirmWrite(`Write this to ${target.name}?`, options.yes);
      // While somebody was thinking, KV may have changed.
      if (!options.yes) refuseChanged(await makePlan(kv, topology), plan.state);
      const revision = await applyPlan(kv, plan);
      await checkApplied(kv, topology, plan);
      if (options.json) printJson({ ...planJson(plan), applied: revision });
      else print(`Applied as revision ${revision}; \`podctl rollback\` undoes it.`);
    });
}

function refuseChanged({ state }: Plan, expected: string | undefined): void {
  if (expected === undefined || state === expected) return;
  throw new CliFailure(
    `KV changed since the plan: that was made at revision ${expected}, now it is at ${state}; plan again`,
  );
}
