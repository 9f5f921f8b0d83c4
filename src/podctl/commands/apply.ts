import { Command } from "commander";
import { confirmWrite, showWrite } from "../confirm.ts";
import { CliFailure } from "../failure.ts";
import { print, printJson } from "../output.ts";
import { openTarget, type TargetOptions, withTarget } from "../target/open-target.ts";
import { readTopology } from "../target/read-topology.ts";
import { applyPlan, checkApplied } from "../write/apply-plan.ts";
import { cloudJson, cloudLines } from "../write/cloud-ages.ts";
import { isEmpty, makePlan, type Plan } from "../write/make-plan.ts";
import { describeUnreadBlocks, planJson, planLines } from "../write/plan-text.ts";
import { writeQuestion } from "../write/warnings.ts";

type Options = TargetOptions & { readonly json?: boolean; readonly yes?: boolean; readonly expect?: string };

export function applyCommand(): Command {
  return withTarget(new Command("apply"))
    .description("Writes a topology file to KV. First shows what will change in KV, and asks for confirmation.")
    .argument("[file]", "the topology file (default on the local stack: topology.example.yaml)")
    .option("--yes", "do not ask for confirmation")
    .option("--expect <revision>", "write only if KV still has this revision; `podctl plan` prints it")
    .option("--json", "the changes and the result as JSON")
    .addHelpText(
      "after",
      `
podctl writes a Pod before the assignments that name it, and deletes records last. A location of the edge may see a write 90 seconds late,
and some changes are safe only after all locations have seen an earlier write. Before such a change, podctl waits 90 seconds. For example,
if the file assigns all groups of a Pod to another Pod and no longer has the first Pod, podctl writes the assignments, waits, and then
deletes the Pod. podctl does not write records that have not changed. If an apply is interrupted, run it again, and it writes what is
missing. KV keeps what an apply replaces, and \`podctl rollback\` puts it back.`,
    )
    .action(async (file: string | undefined, options: Options) => {
      const target = await openTarget(options);
      const kv = target.openKv();
      const { topology } = await readTopology(file, target);
      const plan = await makePlan(kv, topology);
      refuseChanged(plan, options.expect);
      const json = { ...planJson(plan), clouds: cloudJson(topology.cloudFiles) };
      if (isEmpty(plan) && options.json) return printJson({ ...json, applied: null });
      showWrite([...planLines(plan, target.name), ...cloudLines(topology.cloudFiles)], options);
      if (isEmpty(plan)) return;
      if (plan.unreadBlocks !== null) throw new CliFailure(describeUnreadBlocks(plan.unreadBlocks));
      await confirmWrite(writeQuestion(target.name, plan.changes, plan.holder), options.yes);
      // KV may have changed while the operator was reading the plan.
      if (!options.yes) refuseChanged(await makePlan(kv, topology), plan.state);
      const revision = await applyPlan(kv, plan);
      await checkApplied(kv, topology, plan);
      if (options.json) printJson({ ...json, applied: revision });
      else print(`Applied as revision ${revision}; \`podctl rollback\` undoes it.`);
    });
}

function refuseChanged({ state }: Plan, expected: string | undefined): void {
  if (expected === undefined || state === expected) return;
  throw new CliFailure(
    `KV changed since the plan: the plan was made at revision ${expected}, but KV is at ${state}; run \`podctl plan\` again`,
  );
}
