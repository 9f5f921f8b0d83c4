import { createEvidenceCache } from "./blobs/proof-cache.ts";
import { createProofMemory, createProofs, type Proofs } from "./blobs/proofs.ts";
import { type Config, type Env, parseConfig } from "./config.ts";
import { createDirectory, type Directory, type FetchPod } from "./directory/directory.ts";
import { createKvCache, createReadKv } from "./directory/kv.ts";
import { createOpenSecret, type OpenSecret } from "./directory/secrets.ts";
import { fetchWithin } from "./net/fetch-within.ts";
import { type Fetcher, type FindBinding, trustedRequest } from "./pods/trust.ts";
import type { Trace } from "./telemetry/record.ts";

/** What one request works with: ports to KV, network and clock, and what it has cost so far. */
export type Services = {
  readonly config: Config;
  readonly directory: Directory;
  /** The same, its assignments read within seconds: isolates remember them for longer, and each from another moment. */
  readonly recentDirectory: Directory;
  readonly fetchPod: FetchPod;
  readonly openSecret: OpenSecret;
  readonly proofs: Proofs;
  /** Work that outlives the answer, and the client. */
  readonly waitUntil: (promise: Promise<unknown>) => void;
  readonly now: Date;
  readonly trace: Trace;
};

/** Tokens for a name cost one KV read in it. */
const recentMs = 2_000;

/** Shared by the isolate's requests: values only. */
const kvCache = createKvCache();
const proofMemory = createProofMemory();
let config: Config | null = null;

export function buildServices(env: Env, trace: Trace, origin: string, waitUntil: Services["waitUntil"]): Services {
  config ??= parseConfig(env);
  const { plainHttp } = config;
  const now = new Date();
  const directoryOf = (routeMaxAgeMs?: number) =>
    createDirectory(
      createReadKv(env.DIRECTORY, kvCache, () => now, trace, routeMaxAgeMs),
      plainHttp,
    );
  const openSecret = createOpenSecret(config.sealingKeys);
  return {
    config,
    directory: directoryOf(),
    recentDirectory: directoryOf(recentMs),
    fetchPod: async (pod, request) => {
      const trusted = await trustedRequest(pod, request, { openSecret, findBinding: findBinding(env) });
      if (!trusted.ok) return trusted;
      trace.podRequests += 1;
      return fetchWithin(trusted.value.request, trusted.value.fetcher);
    },
    openSecret,
    proofs: createProofs({
      memory: proofMemory,
      cache: createEvidenceCache(caches, origin),
      clock: () => new Date(),
      waitUntil,
    }),
    waitUntil,
    now,
    trace,
  };
}

const findBinding =
  (env: Env): FindBinding =>
  (name) => {
    const binding = env[name];
    const isFetcher = typeof binding === "object" && binding !== null && "fetch" in binding;
    return isFetcher ? (binding as Fetcher) : null;
  };
