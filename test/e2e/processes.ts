/** Reads Linux's /proc, to see that nothing is left of what a test started. */
import { readdir, readFile } from "node:fs/promises";

/** Leaves out processes without a command line, because they have ended and wait for their parents. */
export async function processesNaming(text: string): Promise<readonly string[]> {
  const lines = await Promise.all((await processIds()).map(commandLine));
  return lines.filter((line) => line.includes(text));
}

export async function processIdsNaming(...texts: readonly string[]): Promise<readonly number[]> {
  const found = await Promise.all((await processIds()).map(async (id) => [id, await commandLine(id)] as const));
  return found.filter(([, line]) => texts.every((text) => line.includes(text))).map(([id]) => id);
}

/** In /proc/net/tcp, the state 01 means open. */
export async function openConnections(port: number): Promise<number> {
  const local = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const tables = await Promise.all(
    ["tcp", "tcp6"].map((name) => readFile(`/proc/net/${name}`, "utf8").catch(() => "")),
  );
  const rows = tables.flatMap((table) => table.split("\n").map((row) => row.trim().split(/\s+/)));
  return rows.filter(([, own = "", , state]) => own.endsWith(local) && state === "01").length;
}

export async function descendants(pid: number): Promise<readonly number[]> {
  const parents = await Promise.all((await processIds()).map(async (id) => [id, await parentOf(id)] as const));
  const below = (ancestor: number): readonly number[] =>
    parents.filter(([, parent]) => parent === ancestor).flatMap(([id]) => [id, ...below(id)]);
  return below(pid);
}

export async function isRunning(pid: number): Promise<boolean> {
  return (await commandLine(pid)) !== "";
}

const processIds = async (): Promise<readonly number[]> =>
  (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);

const commandLine = async (pid: number): Promise<string> =>
  (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).replaceAll("\0", " ").trim();

async function parentOf(pid: number): Promise<number | null> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  const parent = /^PPid:\t(\d+)$/m.exec(status)?.[1];
  return parent === undefined ? null : Number(parent);
}
