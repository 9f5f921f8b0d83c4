/** What Linux says about another process (proc(5)). */
import { readdir, readFile } from "node:fs/promises";

/** The CPU time of all threads of a process since its start. `schedstat` counts in nanoseconds, but `stat` only in ticks of 10 ms. */
export async function cpuUs(pid: number): Promise<number> {
  const threads = await readdir(`/proc/${pid}/task`);
  const stats = await Promise.all(threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/schedstat`, "utf8")));
  return stats.reduce((sumUs, stat) => sumUs + Number(stat.split(" ", 1)[0]) / 1_000, 0);
}

export async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1_024;
}
