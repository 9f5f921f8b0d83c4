/** `.local/stack.json`: where everything of the running stack is. It is there exactly while the stack is usable. */
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { stackFile } from "./paths.ts";
import { isStackRunning } from "./state-dir.ts";
import type { Stack } from "./types.ts";

/** By rename: whoever finds the file finds all of it. */
export async function writeStackFile({ edge, control, pods }: Stack): Promise<void> {
  const content = { edge, kv: { persistTo: ".local/state", binding: "DIRECTORY" }, control, pods };
  await mkdir(dirname(stackFile), { recursive: true });
  await writeFile(`${stackFile}.tmp`, `${JSON.stringify(content, null, 2)}\n`);
  await rename(`${stackFile}.tmp`, stackFile);
}

export const removeStackFile = (): Promise<void> => rm(stackFile, { force: true });

/** Of a stack that was killed. One that still runs keeps its file. */
export async function removeStaleStackFile(): Promise<void> {
  const text = await readFile(stackFile, "utf8").catch(() => null);
  const control = text === null ? null : controlOf(text);
  if (control === null || !(await isStackRunning(control))) await removeStackFile();
}

function controlOf(text: string): string | null {
  try {
    return (JSON.parse(text) as { control: string }).control;
  } catch {
    return null;
  }
}
