/**
 * `npm run bench`: runs all parts one after the other, prints a table, and writes its figures to bench/results.json and docs/performance.md.
 * `-- --short`: only what CI compares with the stored results. `-- hot-path memory`: only these parts, and nothing is written.
 */
import { parseArgs } from "node:util";
import { type Finding, ratiosFirst } from "./finding.ts";
import { writePage } from "./page.ts";
import { type Part, parts } from "./part-list.ts";
import { findWorse, machineNow, readFindings, writeResults } from "./results.ts";

const { values, positionals } = parseArgs({ options: { short: { type: "boolean" } }, allowPositionals: true });
const unknown = positionals.filter((name) => !parts.some((part) => part.name === name));
if (unknown.length > 0) {
  console.error(`There is no part "${unknown.join(" ")}": want ${parts.map(({ name }) => name).join(", ")}.`);
  process.exitCode = 2;
} else if (values.short === true) await runShort();
else if (positionals.length > 0) await runSome(parts.filter(({ name }) => positionals.includes(name)));
else await runAll();

async function runAll(): Promise<void> {
  const before = machineNow();
  const findings = await runSome(parts);
  const results = { at: new Date().toISOString(), machine: before, loadAfter: machineNow().load, findings };
  await writeResults(results);
  await writePage(results);
}

async function runSome(some: readonly Part[]): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const { name, full } of some) {
    console.log(name);
    findings.push(...(await full(findings)));
  }
  const sorted = ratiosFirst(findings);
  print(sorted);
  if (findings.some(({ value, bound }) => bound !== null && value > bound)) process.exitCode = 1;
  return sorted;
}

/** A part that seems worse than its stored results is measured once more. Another process on the machine can disturb one run. */
async function runShort(): Promise<void> {
  const stored = await readFindings();
  const findings: Finding[] = [];
  for (const { short } of parts) {
    if (short === null) continue;
    const measured = await short();
    const again = findWorse(measured, stored).length === 0 ? measured : await short();
    findings.push(...again);
  }
  print(findings);
  const worse = findWorse(findings, stored);
  for (const text of worse) console.error(text);
  if (worse.length > 0) process.exitCode = 1;
}

function print(findings: readonly Finding[]): void {
  const rows = findings.map(({ name, size, value, bound }) => ({
    name,
    size: size?.toLocaleString("en-US") ?? "",
    value: Number(value.toFixed(value < 100 ? 2 : 0)),
    bound: bound ?? "",
    holds: bound === null ? "" : value <= bound,
  }));
  console.table(rows);
}
