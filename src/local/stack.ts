/** Starts and stops the whole local stack. `npm start`, tests, e2e and conformance all use it. */
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { JWK } from "jose";
import type { GatewayOperator } from "../directory/records.ts";
import { generateSealingKeys } from "../directory/seal.ts";
import { metadataOf } from "../topology/record-text.ts";
import { startBodyLimit } from "./body-limit.ts";
import { createControlServer } from "./control-server.ts";
import { exampleEntries, topologyValues } from "./example-topology.ts";
import { serve } from "./http-server.ts";
import { defaultStateDir } from "./paths.ts";
import type { ServiceName } from "./pods/pod.ts";
import {
  type BothPods,
  bothPartsOf,
  findTap,
  type LocalPodId,
  type PodKind,
  type SigningKeys,
  startGateways,
  startPods,
} from "./pods/start-pods.ts";
import { isPortFree, loopback } from "./ports.ts";
import { seedImages } from "./seed-images.ts";
import {
  claimStateDir,
  ownStateDir,
  type RunningStack,
  releaseStateDir,
  sealingKeyFile,
  stackService,
} from "./stack-files.ts";
import { portInUse } from "./start-failure.ts";
import type { Fault } from "./taps/faults.ts";
import type { SeenRequest } from "./taps/seen-requests.ts";
import { Teardown } from "./teardown.ts";
import { bundleWorker } from "./workerd/bundle-worker.ts";
import { type RestartableEdge, startEdge } from "./workerd/edge.ts";
import { EdgeLog, type EdgeRecord } from "./workerd/edge-log.ts";
import type { KvFault } from "./workerd/kv-faults.ts";

export type StackOptions = {
  readonly pods?: PodKind | Readonly<Record<LocalPodId, PodKind>>;
  /** 0 means any free port. */
  readonly edgePort?: number;
  readonly stateDir?: string;
  /** The Worker as one module. Without `script`, the stack bundles the Worker of this source tree. */
  readonly script?: string;
  /** These override the Worker's variables. */
  readonly env?: Readonly<Record<string, string>>;
  readonly sealingKeys?: { readonly publicJwk: JWK; readonly privateJwk: JWK };
  /** Edits the topology's text before its placeholders are filled. */
  readonly topology?: (text: string) => string;
  readonly seedImages?: boolean;
  /** Whether toy Pods take manifests whose blobs they do not have. */
  readonly lenientManifests?: boolean;
  /** Who runs the Pods' gateways. If this option is missing, the Pods have no gateways. */
  readonly gateways?: GatewayOperator;
  /** Plays the CDN's body limit: a request with a longer body than this gets 413 before the Worker sees it. */
  readonly bodyLimitBytes?: number;
  /**
   * Whether pod-b uses the registry and the storage of pod-a, and has only its own token service. The option `topology` must then give both Pods the
   * same issuer, audience and bucket.
   */
  readonly oneRegistry?: boolean;
  /** The token keys of the Pods. A docker-registry needs an extractable key, because openssl makes a certificate from it. */
  readonly signingKeys?: SigningKeys;
  /** The lifetime of the Pods' tokens. By default it is 300 s, as in GitLab. */
  readonly tokenSeconds?: number;
  /** Whether workerd has an inspector, which shows each Worker's heap. */
  readonly inspect?: boolean;
};

export type Stack = RunningStack & {
  seen(pod: LocalPodId, service: ServiceName): readonly SeenRequest[];
  clearSeen(): void;
  setFault(pod: LocalPodId, service: ServiceName, fault: Fault): Promise<void>;
  setKvFault(fault: KvFault): Promise<void>;
  edgeSeen(): readonly EdgeRecord[];
  /** Returns every line that the Worker has logged, unchanged. */
  edgeLines(): readonly string[];
  /** Waits until the Worker has logged nothing for a moment, because the Worker logs a request after its answer. */
  edgeSettled(): Promise<void>;
  kvReads(): number;
  putKv(key: string, value: string): Promise<void>;
  deleteKv(key: string): Promise<void>;
  workerdPid(): number;
  /** Rejects if the stack was not started with `inspect`. */
  inspectorUrl(): Promise<URL>;
  restartGateway(pod: LocalPodId): Promise<void>;
  runCron(): Promise<void>;
  readonly restartEdge: RestartableEdge["restart"];
  stop(): Promise<void>;
};

/** If the start fails, nothing is left running. The error is a `StartFailure` if the user can remove the cause. */
export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const teardown = new Teardown();
  const stop = () => teardown.run();
  try {
    return { ...(await start(options, teardown)), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function start(options: StackOptions, teardown: Teardown): Promise<Omit<Stack, "stop">> {
  const port = options.edgePort ?? 8787;
  const stateDir = resolve(options.stateDir ?? defaultStateDir);
  const parts = bothPartsOf(options.pods ?? "toy", options.lenientManifests ?? false);
  if (!(await isPortFree(port))) throw portInUse(port);
  await claimStateDir(stateDir);

  const { signingKeys = {}, oneRegistry = false, tokenSeconds } = options;
  let pods = await startPods(parts, { stateDir, signingKeys, oneRegistry, tokenSeconds }, teardown);
  const log = new EdgeLog();
  teardown.add({ stop: async () => log.close() });
  const tapOf = (pod: string, service: string) => findTap(pods, pod, service);
  const started = Promise.withResolvers<RestartableEdge>();
  const kv = started.promise.then((edge) => edge.kv);
  const setKvFault = async (fault: KvFault) => (await started.promise).setKvFault(fault);
  const runCron = async () => (await started.promise).runCron();
  const control = teardown.add(await serve(createControlServer({ tapOf, log, kv, setKvFault, runCron })));
  const controlUrl = `http://${loopback}:${control.port}`;
  await ownStateDir(stateDir, controlUrl);
  teardown.add({ stop: () => releaseStateDir(stateDir) });

  const sealingKeys = options.sealingKeys ?? (await generateSealingKeys());
  const vars = await workerVariables(options, sealingKeys.privateJwk, stateDir);
  const { bodyLimitBytes, script = await bundleWorker(), inspect = false } = options;
  const workerPort = bodyLimitBytes === undefined ? port : 0;
  const { watchdog } = teardown;
  const worker = teardown.add(await startEdge({ port: workerPort, stateDir, vars, script, log, watchdog, inspect }));
  const edge =
    bodyLimitBytes === undefined ? worker : await limitBodies(worker, { port, limitBytes: bodyLimitBytes }, teardown);
  if (options.gateways !== undefined) {
    const edges = [edge.url, edge.url.replace(loopback, "localhost")];
    pods = await startGateways(pods, { stateDir, edges, operator: options.gateways }, teardown);
  }
  const entries = await directoryEntries(options, pods, { sealingKey: sealingKeys.publicJwk, stateDir });
  for (const [key, value] of entries) await edge.kv.put(key, value, { metadata: metadataOf(value) });
  started.resolve(edge);
  if (options.seedImages ?? true) await Promise.all(Object.values(pods).map(seedImages));
  const view = viewOf(pods, edge, log);
  view.clearSeen();
  return { ...view, control: controlUrl, stateDir };
}

async function limitBodies(
  worker: RestartableEdge,
  { port, limitBytes }: { readonly port: number; readonly limitBytes: number },
  teardown: Teardown,
): Promise<RestartableEdge> {
  const targetPort = Number(new URL(worker.url).port);
  const front = teardown.add(await startBodyLimit({ port, targetPort, limitBytes }));
  return { ...worker, url: `http://${loopback}:${front.port}` };
}

async function workerVariables({ env }: StackOptions, sealingKey: JWK, stateDir: string) {
  const vars = {
    SERVICE: stackService,
    REALM: "",
    AUTH: "token",
    PLAIN_HTTP: "allow",
    SEALING_KEYS: JSON.stringify([sealingKey]),
    EDGE_KEYS: JSON.stringify([randomBytes(32).toString("base64url")]),
    PROBE_TOKEN: randomBytes(32).toString("base64url"),
    ...env,
  };
  await writeFile(`${stateDir}/probe-token`, vars.PROBE_TOKEN, { mode: 0o600 });
  return vars;
}

async function directoryEntries(
  { topology = (text) => text }: StackOptions,
  pods: BothPods,
  { sealingKey, stateDir }: { readonly sealingKey: JWK; readonly stateDir: string },
) {
  const values = await topologyValues(Object.values(pods), sealingKey);
  // These values fill the placeholders of the topology file. podctl needs them when it compares the file with the stack's KV.
  await writeFile(`${stateDir}/topology-values.json`, JSON.stringify(values, null, 2));
  await writeFile(sealingKeyFile(stateDir), JSON.stringify(sealingKey));
  return exampleEntries(values, topology);
}

function viewOf(pods: BothPods, edge: RestartableEdge, log: EdgeLog): Omit<Stack, "stop" | "control" | "stateDir"> {
  const tapOf = (pod: LocalPodId, service: ServiceName) => {
    const tap = findTap(pods, pod, service);
    if (tap === null) throw new Error(`the stack has no ${service} of ${pod}`);
    return tap;
  };
  return {
    edge: edge.url,
    pods: { "pod-a": pods["pod-a"].services, "pod-b": pods["pod-b"].services },
    seen: (pod, service) => tapOf(pod, service).seen(),
    clearSeen: () => {
      for (const { taps } of Object.values(pods)) for (const tap of Object.values(taps)) tap.clearSeen();
      log.clear();
    },
    setFault: (pod, service, fault) => tapOf(pod, service).setFault(fault),
    setKvFault: edge.setKvFault,
    edgeSeen: () => log.list(),
    edgeLines: () => log.messages(),
    edgeSettled: () => log.settled(),
    kvReads: () => log.kvReads(),
    putKv: (key, value) => edge.kv.put(key, value, { metadata: metadataOf(value) }),
    deleteKv: (key) => edge.kv.delete(key),
    workerdPid: edge.workerdPid,
    inspectorUrl: () => edge.inspectorUrl(),
    restartGateway: async (pod) => pods[pod].gateway?.restart(),
    runCron: () => edge.runCron(),
    restartEdge: edge.restart,
  };
}
