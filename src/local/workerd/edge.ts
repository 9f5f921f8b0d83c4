/**
 * The edge: the Worker in workerd, started by Miniflare. Clients talk to workerd itself, not to the front that Miniflare
 * puts before Workers (it rewrites Accept-Encoding and re-encodes answers), and workerd connects to the Pods itself: no
 * byte of a request passes this process.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { ChildProcess } from "node:child_process";
import diagnosticsChannel from "node:diagnostics_channel";
import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { Log, LogLevel, Miniflare, type MiniflareOptions } from "miniflare";
import { loopback } from "../http-server.ts";
import { StartFailure } from "../start-failure.ts";
import type { Stack } from "../types.ts";
import type { Watchdog } from "../watchdog.ts";
import { bundleWorker, readWorkerConfig, type WorkerConfig } from "./config.ts";
import type { ApiKv } from "./kv-api.ts";
import type { EdgeLog } from "./log.ts";

/** Until a port that was ours is free again, should it be taken. */
const portRetryMs = 1_000;

type EdgeOptions = {
  /** 0 takes a free one. */
  readonly port: number;
  readonly stateDir: string;
  readonly vars: Readonly<Record<string, string>>;
  readonly log: EdgeLog;
  readonly watchdog: Watchdog;
};

export type Edge = {
  readonly url: string;
  readonly workerdPid: () => number;
  readonly kv: ApiKv;
  stop(): Promise<void>;
};

async function startEdge(options: EdgeOptions): Promise<Edge> {
  const [config, script] = await Promise.all([readWorkerConfig(), bundleWorker()]);
  const processes: ChildProcess[] = [];
  const miniflare = withoutSignalHandlers(() =>
    spawnedIn.run(processes, () => new Miniflare(miniflareOptions(config, script, options))),
  );
  const workerdPid = () => processes.at(-1)?.pid ?? 0;
  try {
    const url = await miniflare.unsafeGetDirectURL();
    options.watchdog.watch(workerdPid());
    const kv = await miniflare.getKVNamespace("DIRECTORY");
    return {
      url: url.origin,
      workerdPid,
      kv: kv as unknown as ApiKv,
      stop: () => miniflare.dispose(),
    };
  } catch (error) {
    await miniflare.dispose().catch(() => {});
    throw isAddressInUse(error) ? portInUse(options.port) : error;
  }
}

export type RestartableEdge = Edge & { readonly restart: Stack["restartEdge"] };

/** An edge whose isolate and caches can be lost, as they are on a deployment or in another location. */
export async function startRestartable(options: EdgeOptions): Promise<RestartableEdge> {
  let edge = await startEdge(options);
  const port = Number(new URL(edge.url).port);
  return {
    url: edge.url,
    workerdPid: () => edge.workerdPid(),
    kv: {
      list: (page) => edge.kv.list(page),
      get: (key) => edge.kv.get(key),
      put: (key, value, options) => edge.kv.put(key, value, options),
      delete: (key) => edge.kv.delete(key),
    },
    stop: () => edge.stop(),
    restart: async (caches = "empty") => {
      await edge.stop();
      if (caches === "empty") await rm(`${persistencePath(options)}/cache`, { recursive: true, force: true });
      const again = () => startEdge({ ...options, port });
      // A passing connection may have the port as its own end for a moment.
      edge = await again().catch(() => sleep(portRetryMs).then(again));
    },
  };
}

export const portInUse = (port: number): StartFailure =>
  new StartFailure(`Port ${port} of ${loopback} is in use: free it, or choose another with PORT=.`);

const isAddressInUse = (error: unknown): boolean =>
  error instanceof Error && "code" in error && error.code === "ERR_ADDRESS_IN_USE";

/** The folder that wrangler's `--persist-to` adds a version to. */
const persistencePath = ({ stateDir }: EdgeOptions): string => `${stateDir}/v3`;

function miniflareOptions(config: WorkerConfig, script: string, options: EdgeOptions): MiniflareOptions {
  const vars = Object.entries({ ...config.vars, ...options.vars });
  const kvNamespaces = [...config.kvNamespaces];
  return {
    host: loopback,
    port: 0,
    cf: false,
    logRequests: false,
    enableDevRegistry: false,
    telemetry: { enabled: false },
    log: new Log(LogLevel.ERROR),
    handleStructuredLogs: (line) => options.log.receive(line),
    resourcePersistencePath: persistencePath(options),
    workers: [
      {
        config: {
          name: config.name,
          compatibilityDate: config.compatibilityDate,
          compatibilityFlags: config.compatibilityFlags,
          manifest: {
            mainModule: "worker.js",
            modulesRoot: "/",
            modules: { "worker.js": { type: "esm", contents: script } },
          },
          env: Object.fromEntries([
            ...vars.map(([name, value]) => [name, { type: "text" as const, value }] as const),
            ...kvNamespaces.map(([name, id]) => [name, { type: "kv" as const, id }] as const),
          ]),
        },
        dev: { unsafeDirectSockets: [{ host: loopback, port: options.port }] },
      },
    ],
  };
}

/** Miniflare would exit on a signal with a code of its own, before the rest of the stack has ended. */
function withoutSignalHandlers<T>(create: () => T): T {
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  const before = signals.map((signal) => new Set(process.listeners(signal)));
  const created = create();
  for (const [index, signal] of signals.entries()) {
    for (const listener of process.listeners(signal)) {
      if (!before[index]?.has(listener)) process.off(signal, listener);
    }
  }
  return created;
}

/** Miniflare keeps workerd's process to itself; Node tells about each process that is spawned. */
const spawnedIn = new AsyncLocalStorage<ChildProcess[]>();
diagnosticsChannel.subscribe("child_process", (message) => {
  const { process } = message as { process: ChildProcess };
  spawnedIn.getStore()?.push(process);
});
