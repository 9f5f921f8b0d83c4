/** All commands of podctl; each has its own file. */
import { Command } from "commander";
import { applyCommand } from "./commands/apply.ts";
import { assignCommand, unassignCommand } from "./commands/assign.ts";
import { blockCommand, unblockCommand } from "./commands/block.ts";
import { doctorCommand } from "./commands/doctor.ts";
import { explainCommand } from "./commands/explain.ts";
import { exportCommand } from "./commands/export.ts";
import { keysCommand } from "./commands/keys.ts";
import { moveCommand } from "./commands/move.ts";
import { planCommand } from "./commands/plan.ts";
import { pullsCommand } from "./commands/pulls.ts";
import { replayCommand } from "./commands/replay.ts";
import { resolveCommand } from "./commands/resolve.ts";
import { rollbackCommand } from "./commands/rollback.ts";
import { schemaCommand } from "./commands/schema.ts";
import { sealCommand } from "./commands/seal.ts";
import { setCommand } from "./commands/set.ts";
import { storesCommand } from "./commands/stores.ts";
import { validateCommand } from "./commands/validate.ts";

export const createProgram = (): Command =>
  new Command("podctl")
    .description("Manages the directory of a registry-edge deployment: which Pod owns which repository names.")
    .addCommand(validateCommand())
    .addCommand(planCommand())
    .addCommand(applyCommand())
    .addCommand(rollbackCommand())
    .addCommand(assignCommand())
    .addCommand(unassignCommand())
    .addCommand(moveCommand())
    .addCommand(setCommand())
    .addCommand(blockCommand())
    .addCommand(unblockCommand())
    .addCommand(exportCommand())
    .addCommand(resolveCommand())
    .addCommand(explainCommand())
    .addCommand(replayCommand())
    .addCommand(pullsCommand())
    .addCommand(schemaCommand())
    .addCommand(storesCommand())
    .addCommand(doctorCommand())
    .addCommand(keysCommand())
    .addCommand(sealCommand())
    .addHelpText(
      "after",
      `
You describe the directory in a topology file (topology.yaml), which you keep in a repository of your own. \`apply\` writes this file
to KV, and \`plan\` shows beforehand what \`apply\` would change. Without --env and $CLOUDFLARE_ENV, all commands work on the running
local stack (\`npm start\`). With --env they work on the KV namespace in [env.<name>] of wrangler.toml, with the API token in
PODCTL_API_TOKEN. docs/podctl.md shows each command at work, and docs/deploy.md lists the variables that podctl reads.`,
    )
    .showHelpAfterError();
