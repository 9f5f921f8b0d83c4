import { type Config, type Env, parseConfig } from "./config.ts";
import { createKvCache, createReadKv } from "./directory/cached-kv.ts";
import { createDirectory, type Directory } from "./directory/directory.ts";
import type { Result } from "./lib/result.ts";
import { type FetchRequest, fetchWithin, type PodFailure } from "./resilience/fetch-within.ts";
import type { Trace } from "./telemetry/record.ts";

/** What one request works with: ports to KV, network and clock, and what it has cost so far. */
export type Services = {
  readonly config: Config;
  readonly directory: Directory;
  readonly fetchPod: (request: FetchRequest) => Promise<Result<Response, PodFailure>>;
  readonly now: Date;
  readonly trace: Trace;
};

/** Shared by the isolate's requests: values only. */
const kvCache = createKvCache();
let config: Config | null = null;

export function buildServices(env: Env, trace: Trace): Services {
  config ??= parseConfig(env);
  const now = new Date();
  const readKv = createReadKv(
    env.DIRECTORY,
    kvCache,
    () => now,
    () => {
      trace.kvReads += 1;
    },
  );
  return {
    config,
    directory: createDirectory(readKv, config.plainHttp),
    fetchPod: (request) => {
      trace.podRequests += 1;
      return fetchWithin(request);
    },
    now,
    trace,
  };
}
