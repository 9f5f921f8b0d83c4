import { Command } from "commander";

const commands: ReadonlyMap<string, () => Promise<Command>> = new Map([
  ["validate", async () => (await import("./commands/validate.ts")).validateCommand()],
  ["plan", async () => (await import("./commands/plan.ts")).planCommand()],
  ["apply", async () => (await import("./commands/apply.ts")).applyCommand()],
  ["rollback", async () => (await import("./commands/rollback.ts")).rollbackCommand()],
  ["assign", async () => (await import("./commands/assign.ts")).assignCommand()],
  ["unassign", async () => (await import("./commands/assign.ts")).unassignCommand()],
  ["move", async () => (await import("./commands/move.ts")).moveCommand()],
  ["set", async () => (await import("./commands/set.ts")).setCommand()],
  ["block", async () => (await import("./commands/block.ts")).blockCommand()],
  ["unblock", async () => (await import("./commands/block.ts")).unblockCommand()],
  ["export", async () => (await import("./commands/export.ts")).exportCommand()],
  ["resolve", async () => (await import("./commands/resolve.ts")).resolveCommand()],
  ["explain", async () => (await import("./commands/explain.ts")).explainCommand()],
  ["replay", async () => (await import("./commands/replay.ts")).replayCommand()],
  ["pulls", async () => (await import("./commands/pulls.ts")).pullsCommand()],
  ["schema", async () => (await import("./commands/schema.ts")).schemaCommand()],
  ["stores", async () => (await import("./commands/stores.ts")).storesCommand()],
  ["doctor", async () => (await import("./commands/doctor.ts")).doctorCommand()],
  ["keys", async () => (await import("./commands/keys.ts")).keysCommand()],
  ["seal", async () => (await import("./commands/seal.ts")).sealCommand()],
]);

/**
 * Loads only the command that `args` begin with, because it takes longer to load all commands than to run a short one. Loads all if `args` begin with
 * no command, as in `podctl --help`.
 */
export async function createProgram(args: readonly string[] = []): Promise<Command> {
  const named = commands.get(args[0] ?? "");
  const loads = named === undefined ? [...commands.values()] : [named];
  const program = new Command("podctl")
    .description("Manages the directory of a registry-edge deployment: which Pod owns which repository names.")
    .addHelpText(
      "after",
      `
A Pod is one registry with its own token service and storage. A group is all repositories below a prefix: the prefix acme has the
repositories acme/app, acme/team/web and so on. An assignment says which Pod owns a group. The directory is all of this in Workers KV.

You describe the directory in a topology file (topology.yaml), which you keep in a repository of your own. \`podctl plan\` shows what the
file would change in KV, and \`podctl apply\` writes it.

Without --env, commands work on the local stack, which \`npm start\` runs. With --env <name>, they work on the deployment that the section
[env.<name>] of wrangler.toml describes, and need an API token in the variable PODCTL_API_TOKEN. The variable CLOUDFLARE_ENV does the same
as --env. docs/podctl.md shows each command at work, and docs/deploy.md lists the variables that podctl reads.`,
    )
    .showHelpAfterError();
  for (const command of await Promise.all(loads.map((load) => load()))) program.addCommand(command);
  refuseRepeatedOptions(program);
  return program;
}

/** Without this, commander would silently take the last value of a repeated option. A second `--env` would then write to another deployment. */
function refuseRepeatedOptions(command: Command): void {
  for (const option of command.options.filter((each) => !each.isBoolean())) {
    let times = 0;
    command.on(`option:${option.name()}`, () => {
      times += 1;
      if (times > 1) command.error(`error: option '${option.flags}' is given twice; give it once`);
    });
  }
  command.commands.forEach(refuseRepeatedOptions);
}
