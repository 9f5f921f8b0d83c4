import { spawnSync } from "node:child_process";
import { root } from "../../src/local/paths.ts";

const getToolsMs = 1_200_000;

/** Once per run. What it cannot get, the tests that need it name. */
export function setup(): void {
  spawnSync(process.execPath, [`${root}scripts/tools.mjs`], { stdio: "inherit", timeout: getToolsMs });
}
