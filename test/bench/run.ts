/** `npm run bench`: prints a table and writes the same to bench/results.json. It fails if a value is over its bound. */
import { mkdir, writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { benchPodctl } from "./podctl.ts";

export type Finding = {
  readonly name: string;
  readonly size: number | null;
  readonly value: number;
  /** The most that it may be; null if there is no limit. */
  readonly bound: number | null;
};

const findings = await benchPodctl();
const rows = findings.map(({ name, size, value, bound }) => ({
  name,
  size: size?.toLocaleString("en-US") ?? "",
  value: Number(value.toFixed(value < 100 ? 2 : 0)),
  bound: bound ?? "",
  holds: bound === null ? "" : value <= bound,
}));
console.table(rows);
await mkdir("bench", { recursive: true });
const machine = { cpus: cpus().length, model: cpus()[0]?.model, node: process.version };
await writeFile(
  "bench/results.json",
  `${JSON.stringify({ at: new Date().toISOString(), machine, findings }, null, 2)}\n`,
);
if (findings.some(({ value, bound }) => bound !== null && value > bound)) process.exitCode = 1;
