import { spawnSync } from "node:child_process";
import { root } from "../../src/local/paths.ts";

const getToolsMs = 1_200_000;

/** Installs the tools once before all tests. If a tool is still missing, each test that needs it has the tool's name in its title. */
export function setup(): void {
  spawnSync(process.execPath, [`${root}scripts/tools.mjs`], { stdio: "inherit", timeout: getToolsMs });
}
