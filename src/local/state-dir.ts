/** A stack's folder: KV, Pods' files. Every start finds it empty; two stacks never share one. */
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { StartFailure } from "./start-failure.ts";

const probeMs = 5_000;
/** Names the control server of the stack that owns the folder; whoever answers there is alive. */
const ownerFile = (stateDir: string): string => `${stateDir}/control-url`;

/** The public key that seals secrets for the stack's Worker. */
export const sealingKeyFile = (stateDir: string): string => `${stateDir}/sealing-key.json`;

export async function claimStateDir(stateDir: string): Promise<void> {
  const owner = await readFile(ownerFile(stateDir), "utf8").catch(() => null);
  if (owner !== null && (await isStackRunning(owner))) {
    throw new StartFailure(`Another stack is running on ${stateDir}: stop it first.`);
  }
  // Our own parts only: the folder may be the user's choice.
  for (const part of ["v3", "pods", "control-url", "topology-values.json", "probe-token", "sealing-key.json"]) {
    await rm(`${stateDir}/${part}`, { recursive: true, force: true });
  }
  await mkdir(stateDir, { recursive: true });
}

export const ownStateDir = (stateDir: string, controlUrl: string): Promise<void> =>
  writeFile(ownerFile(stateDir), controlUrl);

export const releaseStateDir = (stateDir: string): Promise<void> => rm(ownerFile(stateDir), { force: true });

export async function isStackRunning(controlUrl: string): Promise<boolean> {
  try {
    const response = await fetch(`${controlUrl}/kv`, { signal: AbortSignal.timeout(probeMs) });
    return typeof ((await response.json()) as { reads?: unknown }).reads === "number";
  } catch {
    return false;
  }
}
