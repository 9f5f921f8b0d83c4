/**
 * Starts what the bench measures: a stack with toy Pods, and bare Workers. Each runs in a workerd of its own, and all are started in the same way.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatBundle } from "../../src/auth/bundle.ts";
import type { PodId } from "../../src/directory/pod-id.ts";
import type { LocalPodId } from "../../src/local/pods/start-pods.ts";
import { type Stack, type StackOptions, startStack } from "../../src/local/stack.ts";
import { Teardown } from "../../src/local/teardown.ts";
import { generateSigningKey } from "../../src/local/toy/token-service.ts";
import { bundleWorker } from "../../src/local/workerd/bundle-worker.ts";
import { startMiniflare } from "../../src/local/workerd/miniflare.ts";
import { readWorkerConfig } from "../../src/local/wrangler-config.ts";
import { signFor } from "../support/hostile-tokens.ts";

const longTokenSeconds = 24 * 3_600;

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

export type BenchStack = Stack & {
  /** Makes a token for pulls that outlives the bench. The Pods' own tokens end after five minutes. */
  longToken(pod: LocalPodId, repository: string): Promise<LongToken>;
};
/** `bundle` is the token that clients send to the edge. It contains `jwt`, the Pod's own token. */
export type LongToken = { readonly bundle: string; readonly jwt: string };

export async function startBenchStack(
  teardown: Teardown,
  dir: string,
  options: StackOptions = {},
): Promise<BenchStack> {
  // `true` makes the private keys extractable, as the stack's own keys are.
  const signingKeys = { "pod-a": await generateSigningKey(true), "pod-b": await generateSigningKey(true) };
  const stack = await startStack({ edgePort: 0, stateDir: `${dir}/stack`, signingKeys, ...options });
  teardown.add(stack);
  return {
    ...stack,
    longToken: async (pod, repository) => {
      const access = [{ type: "repository", name: repository, actions: ["pull"] }];
      const exp = Math.floor(Date.now() / 1_000) + longTokenSeconds;
      const claims = { iss: `${pod}-issuer`, aud: `${pod}-registry`, exp, access };
      const jwt = await signFor({ ofA: signingKeys[pod], ofB: signingKeys[pod] }, claims);
      return { bundle: formatBundle([{ kind: "pod", pod: pod as string as PodId, jwt }]), jwt };
    },
  };
}

export type BenchWorker = { readonly url: string; readonly pid: number };

/** The `constants` are written in front of the code of `file`. */
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
