/** `.local/stack.json`: where everything of the running stack is. It is there exactly while the stack is usable. */
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, relative, resolve } from "node:path";
import { parseJsonObject } from "../lib/json.ts";
import { root, stackFile } from "./paths.ts";
import { isStackRunning } from "./state-dir.ts";
import type { Stack } from "./types.ts";

/** By rename: whoever finds the file finds all of it. */
export async function writeStackFile({ edge, control, pods, stateDir }: Stack, file = stackFile): Promise<void> {
  const content = { edge, kv: { persistTo: relative(root, stateDir), binding: "DIRECTORY" }, control, pods };
  await mkdir(dirname(file), { recursive: true });
  await writeFile(`${file}.tmp`, `${JSON.stringify(content, null, 2)}\n`);
  await rename(`${file}.tmp`, file);
}

/** `PODCTL_STACK` names another stack's file than the one of `npm start`. */
export const stackFileInUse = (): string => process.env["PODCTL_STACK"] ?? stackFile;

export type RunningStack = Pick<Stack, "edge" | "control" | "pods" | "stateDir">;

/** The stack that a file tells of; null when none runs. */
export async function readStackFile(file = stackFile): Promise<RunningStack | null> {
  const text = await readFile(file, "utf8").catch(() => null);
  const content = text === null ? null : (parseJsonObject(text) as StackFile | null);
  if (content === null || !(await isStackRunning(content.control))) return null;
  const { edge, control, pods, kv } = content;
  return { edge, control, pods, stateDir: resolve(root, kv.persistTo) };
}

export const removeStackFile = (): Promise<void> => rm(stackFile, { force: true });

/** Of a stack that was killed. One that still runs keeps its file. */
export async function removeStaleStackFile(): Promise<void> {
  if ((await readStackFile()) === null) await removeStackFile();
}

type StackFile = Omit<RunningStack, "stateDir"> & { readonly kv: { readonly persistTo: string } };
