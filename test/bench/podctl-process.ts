/** Runs one podctl command in this process, then sends what it cost. */
import { createProgram } from "../../src/podctl/program.ts";

/** The seconds count from the start of the process, and the memory is the most that it had. */
export type Cost = { readonly seconds: number; readonly maxRssBytes: number; readonly exitCode: number };

await createProgram().parseAsync(process.argv.slice(2), { from: "user" });
const cost: Cost = {
  seconds: performance.now() / 1_000,
  maxRssBytes: process.resourceUsage().maxRSS * 1_024,
  exitCode: Number(process.exitCode ?? 0),
};
process.send?.(cost);
process.disconnect();
