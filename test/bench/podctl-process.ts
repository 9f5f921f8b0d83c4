/** Runs one podctl command in this process, and then tells the parent process what the command cost. */
import { createProgram } from "../../src/podctl/program.ts";

/** `seconds` leaves out how long Node takes to load podctl and wrangler, which does not depend on the topology. */
export type Cost = {
  readonly seconds: number;
  /** The CPU time of this process, which depends less than `seconds` on what else runs. */
  readonly cpuSeconds: number;
  readonly maxRssBytes: number;
  readonly exitCode: number;
};

await import("wrangler");
const startedMs = performance.now();
const before = process.cpuUsage();
const args = process.argv.slice(2);
await (await createProgram(args)).parseAsync(args, { from: "user" });
const { user, system } = process.cpuUsage(before);
const cost: Cost = {
  seconds: (performance.now() - startedMs) / 1_000,
  cpuSeconds: (user + system) / 1e6,
  maxRssBytes: process.resourceUsage().maxRSS * 1_024,
  exitCode: Number(process.exitCode ?? 0),
};
process.send?.(cost);
process.disconnect();
