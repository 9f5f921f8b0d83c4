import { Command } from "commander";
import { counted, print, printJson } from "../output.ts";
import { openTarget, type TargetOptions, withTarget } from "../target/open-target.ts";
import { readTopology } from "../target/read-topology.ts";

type Options = TargetOptions & { readonly json?: boolean };

export function validateCommand(): Command {
  return withTarget(new Command("validate"))
    .description("Checks a topology file and prints each mistake with its line and column. Changes nothing.")
    .argument("[file]", "the topology file (default on the local stack: topology.example.yaml)")
    .option("--json", "the result as JSON")
    .addHelpText(
      "after",
      `
Some rules for topologies depend on the deployment: on its hostnames, and on its variables AUTH and PLAIN_HTTP. With --env, podctl
reads these from wrangler.toml. It reads nothing from KV, so it needs no API token.`,
    )
    .action(async (file: string | undefined, { json, ...options }: Options) => {
      const { file: path, topology } = await readTopology(file, await openTarget(options));
      const { pods, assignments, blocks } = topology;
      if (json) return printJson({ file: path, pods: pods.size, assignments: assignments.size, blocks: blocks.size });
      print(
        `${path} is valid: ${counted(pods.size, "Pod")}, ${counted(assignments.size, "assignment")}, ${counted(blocks.size, "block")}.`,
      );
    });
}
