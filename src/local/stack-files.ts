/** The files of a running stack: `.local/stack.json`, which says where everything is, and the state folder. */
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, relative, resolve } from "node:path";
import { parseJsonObject } from "../lib/json.ts";
import { root, stackFile } from "./paths.ts";
import type { PodServices } from "./pods/pod.ts";
import type { LocalPodId } from "./pods/start-pods.ts";
import { StartFailure } from "./start-failure.ts";

export type RunningStack = {
  readonly edge: string;
  readonly control: string;
  /** An absolute path, for wrangler's `--persist-to`. */
  readonly stateDir: string;
  readonly pods: Readonly<Record<LocalPodId, PodServices>>;
};

/** The Worker's variable SERVICE on a local stack. */
export const stackService = "registry-edge";

/** The paths of the control server's KV calls begin with this, as those of Cloudflare's API do. */
export const kvApiPath = "/client/v4";
export const kvApiNames = { account: "local", namespace: "DIRECTORY" } as const;

type StackFile = Omit<RunningStack, "stateDir"> & { readonly kv: { readonly persistTo: string } };

/** Writes the file by a rename, so that a reader finds the whole file or no file. */
export async function writeStackFile({ edge, control, pods, stateDir }: RunningStack, file = stackFile): Promise<void> {
  const content = { edge, kv: { persistTo: relative(root, stateDir), binding: "DIRECTORY" }, control, pods };
  await mkdir(dirname(file), { recursive: true });
  await writeFile(`${file}.tmp`, `${JSON.stringify(content, null, 2)}\n`);
  await rename(`${file}.tmp`, file);
}

/** Returns the stack that a file describes, or null if that stack does not run. */
export async function readStackFile(file = stackFile): Promise<RunningStack | null> {
  const text = await readFile(file, "utf8").catch(() => null);
  const content = text === null ? null : (parseJsonObject(text) as StackFile | null);
  if (content === null || !(await isStackRunning(content.control))) return null;
  const { edge, control, pods, kv } = content;
  return { edge, control, pods, stateDir: resolve(root, kv.persistTo) };
}

export const removeStackFile = (): Promise<void> => rm(stackFile, { force: true });

/** Removes the file that a killed stack has left behind, but not the file of a running stack. */
export async function removeStaleStackFile(): Promise<void> {
  if ((await readStackFile()) === null) await removeStackFile();
}

/** The files and folders that a stack makes in its state folder: KV and cache, the Pods' files, and files for podctl and `npm run pod`. */
const stateParts = [
  "v3",
  "pods",
  "control-url",
  "topology-values.json",
  "probe-token",
  "sealing-key.json",
  "gateway.mjs",
] as const;
const probeMs = 5_000;

/** This file has the control URL of the stack that uses the folder. If no server answers at that URL, no stack uses the folder any more. */
const ownerFile = (stateDir: string): string => `${stateDir}/control-url`;
/** The file with the public key that seals secrets for the stack's Worker. */
export const sealingKeyFile = (stateDir: string): string => `${stateDir}/sealing-key.json`;

/** Removes an earlier stack's files from the folder. Throws if another stack still runs on the folder. */
export async function claimStateDir(stateDir: string): Promise<void> {
  const owner = await readFile(ownerFile(stateDir), "utf8").catch(() => null);
  if (owner !== null && (await isStackRunning(owner))) {
    throw new StartFailure(`Another stack is running on ${stateDir}: stop it first.`);
  }
  // We remove only what a stack makes, because the user may have chosen a folder with other files.
  for (const part of stateParts) await rm(`${stateDir}/${part}`, { recursive: true, force: true });
  await mkdir(stateDir, { recursive: true });
}

export const ownStateDir = (stateDir: string, controlUrl: string): Promise<void> =>
  writeFile(ownerFile(stateDir), controlUrl);

export const releaseStateDir = (stateDir: string): Promise<void> => rm(ownerFile(stateDir), { force: true });

async function isStackRunning(controlUrl: string): Promise<boolean> {
  try {
    const response = await fetch(`${controlUrl}/kv`, { signal: AbortSignal.timeout(probeMs) });
    return typeof ((await response.json()) as { reads?: unknown }).reads === "number";
  } catch {
    return false;
  }
}
