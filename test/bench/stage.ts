/** What the figures are measured on: a stack with toy Pods, and bare Workers that are started as its edge is, each in a workerd of its own. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Stack, type StackOptions, startStack } from "../../src/local/stack.ts";
import { Teardown } from "../../src/local/teardown.ts";
import { bundleWorker } from "../../src/local/workerd/bundle-worker.ts";
import { startMiniflare } from "../../src/local/workerd/miniflare.ts";
import { readWorkerConfig } from "../../src/local/wrangler-config.ts";

/** A folder for one part of the bench, and everything that the part has started. All of it is gone when `use` has ended. */
export async function withTeardown<T>(use: (teardown: Teardown, dir: string) => Promise<T>): Promise<T> {
  const dir = await mkdtemp(join(tmpdir(), "registry-edge-bench-"));
  const teardown = new Teardown();
  try {
    return await use(teardown, dir);
  } finally {
    await teardown.run();
    await rm(dir, { recursive: true, force: true });
  }
}

export async function startBenchStack(teardown: Teardown, dir: string, options: StackOptions = {}): Promise<Stack> {
  return teardown.add(await startStack({ edgePort: 0, stateDir: `${dir}/stack`, ...options }));
}

export type BenchWorker = { readonly url: string; readonly pid: number };

/** A Worker of this folder in a workerd of its own. The `constants` are put before its text. */
export async function startBenchWorker(
  teardown: Teardown,
  dir: string,
  { file, constants = {} }: { readonly file: string; readonly constants?: Readonly<Record<string, unknown>> },
): Promise<BenchWorker> {
  const [config, bundle] = await Promise.all([readWorkerConfig(), bundleWorker(join(import.meta.dirname, file))]);
  const lines = Object.entries(constants).map(([name, value]) => `const ${name} = ${JSON.stringify(value)};\n`);
  const { miniflare, workerdPid } = teardown.add(
    startMiniflare({
      config,
      script: lines.join("") + bundle,
      vars: {},
      port: 0,
      persistencePath: await mkdtemp(`${dir}/worker-`),
      onLogLine: () => {},
    }),
  );
  const { origin } = await miniflare.unsafeGetDirectURL();
  teardown.watchdog.watch(workerdPid());
  return { url: origin, pid: workerdPid() };
}
