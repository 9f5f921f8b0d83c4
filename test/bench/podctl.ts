/** What `podctl validate`, `plan` and `apply` cost with many assignments, each as a process of its own. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { accountEnv } from "../support/podctl.ts";
import { writeBenchTopology } from "./assignments.ts";
import type { Finding } from "./finding.ts";
import type { Cost } from "./podctl-process.ts";

/** How much time and memory `validate` and `plan` may take. */
const limits = [
  { assignments: 10_000, seconds: 1, megabytes: 1_000 },
  { assignments: 1_000_000, seconds: 10, megabytes: 1_000 },
] as const;
/** How much memory `apply` may take. Its time has no limit, because it depends on KV. */
const maxApplyMegabytes = 1_500;

export async function benchPodctl(): Promise<readonly Finding[]> {
  const dir = await mkdtemp(join(tmpdir(), "registry-edge-bench-"));
  try {
    const findings: Finding[] = [];
    for (const limit of limits) findings.push(...(await benchSize(dir, limit)));
    return findings;
  } finally {
    await rm(dir, { recursive: true });
  }
}

/** The apply fills the KV for the plan, which then compares every assignment and finds no change. */
async function benchSize(dir: string, limit: (typeof limits)[number]): Promise<readonly Finding[]> {
  const { assignments, seconds, megabytes } = limit;
  const file = await writeBenchTopology(dir, assignments);
  const server = fork(join(import.meta.dirname, "kv-server.ts"));
  const [{ baseUrl }] = (await once(server, "message")) as [{ baseUrl: string }];
  const env = accountEnv(dir, { baseUrl });
  const measure = async (command: string, bounds: readonly [seconds: number | null, megabytes: number]) => {
    const args = command === "apply" ? [command, file, "--yes"] : [command, file];
    const cost = await run([...args, "--env", "production"], env);
    return [
      { name: `podctl ${command}, seconds`, size: assignments, value: cost.seconds, bound: bounds[0] },
      { name: `podctl ${command}, MB of memory`, size: assignments, value: cost.maxRssBytes / 1e6, bound: bounds[1] },
    ];
  };
  try {
    return [
      ...(await measure("validate", [seconds, megabytes])),
      ...(await measure("apply", [null, maxApplyMegabytes])),
      ...(await measure("plan", [seconds, megabytes])),
    ];
  } finally {
    server.disconnect();
  }
}

async function run(args: readonly string[], env: Readonly<Record<string, string>>): Promise<Cost> {
  const child = fork(join(import.meta.dirname, "podctl-process.ts"), args, {
    env: { ...process.env, ...env },
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const [[cost]] = (await Promise.all([once(child, "message"), once(child, "exit")])) as [[Cost], unknown];
  if (cost.exitCode !== 0) throw new Error(`podctl ${args.join(" ")} ended with ${cost.exitCode}`);
  return cost;
}
