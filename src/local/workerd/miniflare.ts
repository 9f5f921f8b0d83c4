/** Starts a Worker in workerd by Miniflare, and finds out workerd's process id. */
import { AsyncLocalStorage } from "node:async_hooks";
import type { ChildProcess } from "node:child_process";
import diagnosticsChannel from "node:diagnostics_channel";
import { Log, LogLevel, Miniflare, type MiniflareOptions } from "miniflare";
import { loopback } from "../ports.ts";
import type { WorkerConfig } from "../wrangler-config.ts";
import { type KvSocket, openKv } from "./kv-socket.ts";

type WorkerSettings = {
  readonly config: WorkerConfig;
  readonly script: string;
  /** The code of a second Worker, through which `script` calls KV. This Worker can play faults of KV. */
  readonly kvScript?: string;
  /** These override the variables of `config`. */
  readonly vars: Readonly<Record<string, string>>;
  /** 0 means any free port. */
  readonly port: number;
  /** The folder where Miniflare keeps KV and the cache. */
  readonly persistencePath: string;
  readonly onLogLine: (line: { readonly level: string; readonly message: string }) => void;
  readonly inspect?: boolean;
};

type RunningMiniflare = {
  readonly miniflare: Miniflare;
  /** Works only if the settings have a `kvScript`. */
  readonly openKv: () => Promise<KvSocket>;
  readonly workerdPid: () => number;
  readonly stop: () => Promise<void>;
};

export function startMiniflare(settings: WorkerSettings): RunningMiniflare {
  // Miniflare does not hand out workerd's process, but Node reports each process that is spawned.
  const processes: ChildProcess[] = [];
  const own = new AsyncLocalStorage<true>();
  const onSpawn = (message: unknown) => {
    if (own.getStore()) processes.push((message as { process: ChildProcess }).process);
  };
  diagnosticsChannel.subscribe("child_process", onSpawn);
  const miniflare = withoutSignalHandlers(() => own.run(true, () => new Miniflare(miniflareOptions(settings))));
  return {
    miniflare,
    openKv: async () => openKv(await miniflare.unsafeGetDirectURL(kvWorkerName)),
    workerdPid: () => processes.at(-1)?.pid ?? 0,
    stop: async () => {
      diagnosticsChannel.unsubscribe("child_process", onSpawn);
      await miniflare.dispose();
    },
  };
}

/** The name of the Worker that runs `kvScript`. This Worker has the KV namespaces, and the KV bindings of `script` lead to it. */
const kvWorkerName = "kv";

function miniflareOptions(settings: WorkerSettings): MiniflareOptions {
  const { config, script, kvScript, port, persistencePath, onLogLine, inspect = false } = settings;
  const vars = Object.entries({ ...config.vars, ...settings.vars });
  const text = Object.fromEntries(vars.map(([name, value]) => [name, { type: "text" as const, value }] as const));
  const namespaces = Object.fromEntries(
    [...config.kvNamespaces].map(([name, id]) => [name, { type: "kv" as const, id }] as const),
  );
  const faulty = Object.fromEntries(
    Object.keys(namespaces).map((name) => [name, { type: "worker" as const, worker: kvWorkerName }] as const),
  );
  return {
    host: loopback,
    port: 0,
    cf: false,
    logRequests: false,
    enableDevRegistry: false,
    telemetry: { enabled: false },
    log: new Log(LogLevel.ERROR),
    handleStructuredLogs: onLogLine,
    resourcePersistencePath: persistencePath,
    ...(inspect ? { inspectorPort: 0 } : {}),
    workers: [
      {
        config: { ...moduleOf(settings, script), env: { ...text, ...(kvScript === undefined ? namespaces : faulty) } },
        dev: { unsafeDirectSockets: [{ host: loopback, port }] },
      },
      ...(kvScript === undefined
        ? []
        : [
            {
              config: { ...moduleOf(settings, kvScript), name: kvWorkerName, env: namespaces },
              dev: { unsafeDirectSockets: [{ host: loopback, port: 0 }] },
            },
          ]),
    ],
  };
}

const moduleOf = ({ config }: WorkerSettings, contents: string) => ({
  name: config.name,
  compatibilityDate: config.compatibilityDate,
  compatibilityFlags: config.compatibilityFlags,
  manifest: {
    mainModule: "worker.js",
    modulesRoot: "/",
    modules: { "worker.js": { type: "esm" as const, contents } },
  },
});

/** Removes Miniflare's signal handlers. On a signal, they would end the process with their exit code before the rest of the stack has ended. */
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
