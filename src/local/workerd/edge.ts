/**
 * The edge: the Worker in workerd. Clients talk to workerd itself and not to the server that Miniflare puts in front of Workers, because that server
 * rewrites Accept-Encoding and re-encodes answers.
 */
import { rm } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { root } from "../paths.ts";
import { portInUse } from "../start-failure.ts";
import type { Watchdog } from "../teardown.ts";
import { readWorkerConfig } from "../wrangler-config.ts";
import { bundleWorker } from "./bundle-worker.ts";
import type { EdgeLog } from "./edge-log.ts";
import type { ApiKv } from "./kv-api.ts";
import type { KvFault } from "./kv-faults.ts";
import type { KvSocket } from "./kv-socket.ts";
import { startMiniflare } from "./miniflare.ts";

const kvWorker = `${root}src/local/workerd/kv-worker.ts`;
const portRetryMs = 1_000;

type EdgeOptions = {
  /** 0 means any free port. */
  readonly port: number;
  readonly stateDir: string;
  readonly vars: Readonly<Record<string, string>>;
  readonly script: string;
  readonly log: EdgeLog;
  readonly watchdog: Watchdog;
  readonly inspect: boolean;
};

type Edge = {
  readonly url: string;
  readonly workerdPid: () => number;
  readonly kv: KvSocket;
  inspectorUrl(): Promise<URL>;
  /** Runs the Worker's cron trigger once, and resolves when that run has ended. */
  runCron(): Promise<void>;
  stop(): Promise<void>;
};

export type RestartableEdge = Omit<Edge, "kv"> & {
  readonly kv: ApiKv;
  /** Resolves when the fault is in force. */
  readonly setKvFault: (fault: KvFault) => Promise<void>;
  /**
   * Restarts the edge on the same port and with the same KV. With `kept` caches this is like a deployment, and with `empty` caches like a new
   * location.
   */
  readonly restart: (caches?: "empty" | "kept") => Promise<void>;
};

export async function startEdge(options: EdgeOptions): Promise<RestartableEdge> {
  const kvScript = await bundleWorker(kvWorker);
  let edge = await startOnce({ ...options, kvScript });
  const port = Number(new URL(edge.url).port);
  let fault: KvFault = { mode: "none" };
  return {
    url: edge.url,
    workerdPid: () => edge.workerdPid(),
    kv: {
      list: (page) => edge.kv.list(page),
      get: (key) => edge.kv.get(key),
      put: (key, value, options) => edge.kv.put(key, value, options),
      delete: (key) => edge.kv.delete(key),
    },
    setKvFault: async (next) => {
      await edge.kv.setFault(next);
      fault = next;
    },
    inspectorUrl: () => edge.inspectorUrl(),
    runCron: () => edge.runCron(),
    stop: () => edge.stop(),
    restart: async (caches = "empty") => {
      await edge.stop();
      if (caches === "empty") await rm(`${persistencePath(options)}/cache`, { recursive: true, force: true });
      const again = () => startOnce({ ...options, kvScript, port });
      // The first try can fail, because an outgoing connection may use this port for a moment.
      edge = await again().catch(() => sleep(portRetryMs).then(again));
      await edge.kv.setFault(fault);
    },
  };
}

async function startOnce(options: EdgeOptions & { readonly kvScript: string }): Promise<Edge> {
  const { miniflare, workerdPid, openKv, stop } = startMiniflare({
    ...options,
    config: await readWorkerConfig(),
    persistencePath: persistencePath(options),
    onLogLine: (line) => options.log.receive(line),
  });
  try {
    const url = await miniflare.unsafeGetDirectURL();
    options.watchdog.watch(workerdPid());
    const kv = await openKv();
    const runCron = async () => {
      const { outcome } = await (await miniflare.getWorker()).scheduled({ scheduledTime: new Date() });
      if (outcome !== "ok") throw new Error(`the cron trigger ended with "${outcome}"`);
    };
    const inspectorUrl = () => miniflare.getInspectorURL();
    return { url: url.origin, workerdPid, kv, inspectorUrl, runCron, stop };
  } catch (error) {
    await stop().catch(() => {});
    throw isAddressInUse(error) ? portInUse(options.port) : error;
  }
}

const isAddressInUse = (error: unknown): boolean =>
  error instanceof Error && "code" in error && error.code === "ERR_ADDRESS_IN_USE";

/** wrangler adds `/v3` to the folder that `--persist-to` names, so we add it, too. */
const persistencePath = ({ stateDir }: EdgeOptions): string => `${stateDir}/v3`;
