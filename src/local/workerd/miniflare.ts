/** Starts one Worker in workerd by Miniflare, and keeps hold of workerd's process. */
import { AsyncLocalStorage } from "node:async_hooks";
import type { ChildProcess } from "node:child_process";
import diagnosticsChannel from "node:diagnostics_channel";
import { Log, LogLevel, Miniflare, type MiniflareOptions } from "miniflare";
import { loopback } from "../ports.ts";
import type { WorkerConfig } from "../wrangler-config.ts";

export type WorkerSettings = {
  readonly config: WorkerConfig;
  readonly script: string;
  /** These override the variables of `config`. */
  readonly vars: Readonly<Record<string, string>>;
  /** With 0 a free port is taken. */
  readonly port: number;
  /** The folder of KV and cache. */
  readonly persistencePath: string;
  readonly onLogLine: (line: { readonly level: string; readonly message: string }) => void;
};

type RunningMiniflare = {
  readonly miniflare: Miniflare;
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
    workerdPid: () => processes.at(-1)?.pid ?? 0,
    stop: async () => {
      diagnosticsChannel.unsubscribe("child_process", onSpawn);
      await miniflare.dispose();
    },
  };
}

function miniflareOptions(settings: WorkerSettings): MiniflareOptions {
  const { config, script, port, persistencePath, onLogLine } = settings;
  const vars = Object.entries({ ...config.vars, ...settings.vars });
  const kvNamespaces = [...config.kvNamespaces];
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
        dev: { unsafeDirectSockets: [{ host: loopback, port }] },
      },
    ],
  };
}

/** On a signal Miniflare would exit with a code of its own before the rest of the stack has ended. */
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
