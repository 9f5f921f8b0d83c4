import { spawnSync } from "node:child_process";
import { root } from "../../src/local/paths.ts";

const getToolsMs = 1_200_000;

/** Runs once before all tests. A test that needs a program that is still missing names it. */
export function setup(): void {
  spawnSync(process.execPath, [`${root}scripts/tools.mjs`], { stdio: "inherit", timeout: getToolsMs });
}
