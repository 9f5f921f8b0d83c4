import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { amount, type Finding, portable } from "./finding.ts";
import { median } from "./rounds.ts";
import { withTeardown } from "./stage.ts";

const kibibyte = 1_024;
const maxKibibytes = 64;
const wrangler = "node_modules/wrangler/bin/wrangler.js";

export const benchBundle = (): Promise<readonly Finding[]> =>
  withTeardown(async (_, dir) => {
    await runWrangler("deploy", "--dry-run", "--env", "production", "--outdir", dir);
    const modules = (await readdir(dir)).filter((name) => name.endsWith(".js"));
    const texts = await Promise.all(modules.map((name) => readFile(`${dir}/${name}`)));
    // As wrangler does, compresses all modules together.
    const bytes = gzipSync(Buffer.concat(texts)).length;
    return [portable("bundle after gzip, KiB", bytes / kibibyte, maxKibibytes)];
  });

export const benchStartUp = ({ runs }: { readonly runs: number }): Promise<readonly Finding[]> =>
  withTeardown(async (_, dir) => {
    const activeMs: number[] = [];
    for (let run = 0; run < runs; run += 1) {
      const file = `${dir}/startup-${run}.cpuprofile`;
      await runWrangler("check", "startup", "--outfile", file);
      activeMs.push(activeMsOf(JSON.parse(await readFile(file, "utf8")) as Profile));
    }
    return [amount("start-up, ms of CPU", median(activeMs))];
  });

/** A CPU profile of V8 (Chrome DevTools Protocol, "Profiler"). */
type Profile = {
  readonly nodes: readonly { readonly id: number; readonly callFrame: { readonly functionName: string } }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
};

function activeMsOf({ nodes, samples, timeDeltas }: Profile): number {
  const idle = new Set(nodes.filter(({ callFrame }) => callFrame.functionName === "(idle)").map(({ id }) => id));
  const us = samples.reduce((sum, id, index) => (idle.has(id) ? sum : sum + (timeDeltas[index] ?? 0)), 0);
  return us / 1_000;
}

async function runWrangler(...args: readonly string[]): Promise<void> {
  await promisify(execFile)(process.execPath, [wrangler, ...args]);
}
