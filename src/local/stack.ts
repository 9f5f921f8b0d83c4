/** The whole local stack as one value: `npm start`, tests, e2e and conformance all run this. */
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { generateSealingKeys } from "../directory/seal.ts";
import { metadataOf } from "../topology/record-text.ts";
import { isPortFree, loopback, serve } from "./http-server.ts";
import { defaultStateDir } from "./paths.ts";
import { findTap, type Pods, partsOf, startPods } from "./pods/start-pods.ts";
import { seedImages } from "./seed-images.ts";
import { claimStateDir, ownStateDir, releaseStateDir, sealingKeyFile } from "./state-dir.ts";
import { createControl } from "./taps/control.ts";
import { Teardown } from "./teardown.ts";
import { exampleEntries, topologyValues } from "./topology-file.ts";
import type { Stack, StackOptions } from "./types.ts";
import { startWatchdog, type Watchdog } from "./watchdog.ts";
import { portInUse, type RestartableEdge, startRestartable } from "./workerd/edge.ts";
import type { ApiKv } from "./workerd/kv-api.ts";
import { EdgeLog } from "./workerd/log.ts";

export type * from "./types.ts";

/** Rejects with a `StartFailure` for what the user can mend. Nothing is left running then. */
export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const teardown = new Teardown();
  const watchdog = startWatchdog();
  const stop = async () => {
    await teardown.run();
    watchdog.dismiss();
  };
  try {
    return { ...(await start(options, teardown, watchdog)), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function start(options: StackOptions, teardown: Teardown, watchdog: Watchdog): Promise<Omit<Stack, "stop">> {
  const port = options.edgePort ?? 8787;
  const stateDir = resolve(options.stateDir ?? defaultStateDir);
  const parts = partsOf(options);
  if (!(await isPortFree(port))) throw portInUse(port);
  await claimStateDir(stateDir);

  const pods = await startPods(parts, { stateDir, watchdog, teardown, signingKeys: options.signingKeys ?? {} });
  const log = new EdgeLog();
  teardown.add({ stop: async () => log.close() });
  const tapOf = (pod: string, service: string) => findTap(pods, pod, service);
  const kv = Promise.withResolvers<ApiKv>();
  const control = teardown.add(await serve(createControl({ tapOf, log, kv: kv.promise })));
  const controlUrl = `http://${loopback}:${control.port}`;
  await ownStateDir(stateDir, controlUrl);
  teardown.add({ stop: () => releaseStateDir(stateDir) });

  const { vars, entries } = await prepareWorker(options, pods, stateDir);
  const edge = teardown.add(await startRestartable({ port, stateDir, vars, log, watchdog }));
  for (const [key, value] of entries) await edge.kv.put(key, value, { metadata: metadataOf(value) });
  kv.resolve(edge.kv);
  if (options.seedImages ?? true) await Promise.all(Object.values(pods).map(seedImages));
  const view = viewOf(pods, edge, log);
  view.clearSeen();
  return { ...view, control: controlUrl, stateDir };
}

/** The Worker's variables and its directory, both with keys made for this stack alone. */
async function prepareWorker(options: StackOptions, pods: Pods, stateDir: string) {
  const sealingKeys = options.sealingKeys ?? (await generateSealingKeys());
  const values = await topologyValues(Object.values(pods), sealingKeys.publicJwk);
  const entries = await exampleEntries(values, options.topology ?? ((text) => text));
  // For whoever fills the same file again, to compare it with the stack's KV.
  await writeFile(`${stateDir}/topology-values.json`, JSON.stringify(values, null, 2));
  const vars = {
    SERVICE: "registry-edge",
    REALM: "",
    AUTH: "token",
    PLAIN_HTTP: "allow",
    SEALING_KEYS: JSON.stringify([sealingKeys.privateJwk]),
    UPLOAD_KEYS: JSON.stringify([randomBytes(32).toString("base64url")]),
    PROBE_TOKEN: randomBytes(32).toString("base64url"),
    ...options.env,
  };
  await writeFile(sealingKeyFile(stateDir), JSON.stringify(sealingKeys.publicJwk));
  await writeFile(`${stateDir}/probe-token`, vars.PROBE_TOKEN, { mode: 0o600 });
  return { vars, entries };
}

function viewOf(pods: Pods, edge: RestartableEdge, log: EdgeLog): Omit<Stack, "stop" | "control" | "stateDir"> {
  return {
    edge: edge.url,
    pods: { "pod-a": pods["pod-a"].services, "pod-b": pods["pod-b"].services },
    seen: (pod, service) => pods[pod].taps[service].seen(),
    clearSeen: () => {
      for (const { taps } of Object.values(pods)) for (const tap of Object.values(taps)) tap.clearSeen();
      log.clear();
    },
    setFault: (pod, service, fault) => pods[pod].taps[service].setFault(fault),
    edgeSeen: () => log.list(),
    edgeLines: () => log.messages(),
    edgeSettled: () => log.settled(),
    kvReads: () => log.kvReads(),
    putKv: (key, value) => edge.kv.put(key, value, { metadata: metadataOf(value) }),
    deleteKv: (key) => edge.kv.delete(key),
    workerdPid: edge.workerdPid,
    restartEdge: edge.restart,
  };
}
