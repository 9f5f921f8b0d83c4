import { spawnSync } from "node:child_process";
import { root } from "../../src/local/paths.ts";

const getToolsMs = 1_200_000;

/** Installs the tools once before all tests. If a tool is still missing, its name is in the title of each test that needs the tool. */
export function setup(): void {
  spawnSync(process.execPath, [`${root}scripts/tools.mjs`], { stdio: "inherit", timeout: getToolsMs });
}
