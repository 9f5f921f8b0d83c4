/** A second edge of the same deployment. Changes in KV reach it later than the first edge. */
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { JWK } from "jose";
import { generateSealingKeys } from "../../src/directory/seal.ts";
import type { Stack } from "../../src/local/stack.ts";
import { Teardown } from "../../src/local/teardown.ts";
import { bundleWorker } from "../../src/local/workerd/bundle-worker.ts";
import { startEdge } from "../../src/local/workerd/edge.ts";
import { EdgeLog } from "../../src/local/workerd/edge-log.ts";
import { readStackKv } from "../support/toy-stack.ts";

export type Secrets = {
  readonly sealingKeys: { readonly publicJwk: JWK; readonly privateJwk: JWK };
  readonly env: Readonly<Record<string, string>>;
};

export async function sharedSecrets(): Promise<Secrets> {
  const env = {
    EDGE_KEYS: JSON.stringify([randomBytes(32).toString("base64url")]),
    PROBE_TOKEN: randomBytes(32).toString("base64url"),
  };
  return { sealingKeys: await generateSealingKeys(), env };
}

type SecondEdge = {
  readonly url: string;
  readonly lines: () => readonly string[];
  readonly stop: () => Promise<void>;
};

/** Each change of one of the `keys` reaches the second edge `lagMs` later. */
export async function startSecondEdge(
  stack: Stack,
  { env, sealingKeys }: Secrets,
  { keys, lagMs }: { readonly keys: readonly string[]; readonly lagMs: number },
): Promise<SecondEdge> {
  const teardown = new Teardown();
  const log = new EdgeLog();
  const vars = {
    ...{ SERVICE: "registry-edge", REALM: "", AUTH: "token", PLAIN_HTTP: "allow" },
    SEALING_KEYS: JSON.stringify([sealingKeys.privateJwk]),
    ...env,
  };
  const stateDir = `${stack.stateDir}/second-edge`;
  const edge = teardown.add(
    await startEdge({
      port: 0,
      stateDir,
      vars,
      script: await bundleWorker(),
      log,
      watchdog: teardown.watchdog,
      inspect: false,
    }),
  );
  const copy = async (entries: ReadonlyMap<string, string | null>) => {
    for (const [key, text] of entries) if (text !== null) await edge.kv.put(key, text, {});
  };
  await copy(await readStackKv(stack, ["directory", "blocks", "pod/pod-a", "pod/pod-b", ...keys]));
  const ending = new AbortController();
  const mirrored = (async () => {
    let last: ReadonlyMap<string, string | null> = new Map();
    const waiting: Promise<unknown>[] = [];
    while (!ending.signal.aborted) {
      // While the first edge restarts, KV does not answer, so we keep what we read last.
      const now: ReadonlyMap<string, string | null> = await readStackKv(stack, keys).catch(() => last);
      const changed = new Map([...now].filter(([key, text]) => last.get(key) !== text));
      last = now;
      if (changed.size > 0) waiting.push(sleep(lagMs).then(() => copy(changed)));
      await sleep(200);
    }
    await Promise.all(waiting);
  })();
  return {
    url: edge.url,
    lines: () => log.messages(),
    stop: async () => {
      ending.abort();
      await mirrored;
      await teardown.run();
      log.close();
    },
  };
}
