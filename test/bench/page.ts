import { readFile, writeFile } from "node:fs/promises";
import type { Finding } from "./finding.ts";
import { priceLine } from "./price.ts";
import type { Results } from "./results.ts";

const file = "docs/performance.md";
const [begin, end] = ["<!-- bench: begin -->", "<!-- bench: end -->"] as const;

export async function writePage(results: Results): Promise<void> {
  const page = await readFile(file, "utf8");
  const [before, after] = [page.indexOf(begin), page.indexOf(end)];
  if (before < 0 || after < before) throw new Error(`"${file}" lacks the line "${begin}" or "${end}" after it`);
  await writeFile(file, `${page.slice(0, before + begin.length)}\n\n${tables(results)}\n\n${page.slice(after)}`);
}

function tables({ at, machine, loadAfter, findings }: Results): string {
  const { cpus, model, node, workerd, load } = machine;
  return [
    `Measured on ${at.slice(0, 10)} with Node ${node} and workerd ${workerd}, on ${cpus} CPUs (${model}). The load of the machine was ${load} before the run and ${loadAfter} after it.`,
    "### Ratios and counts",
    table(findings.filter(({ portable }) => portable === true)),
    "### Times, sizes and prices",
    table(findings.filter(({ portable }) => portable !== true)),
    priceLine(findings),
  ].join("\n\n");
}

function table(findings: readonly Finding[]): string {
  const rows = findings.map(({ name, size, value, bound }) => {
    const what = size === null ? name : `${name}: ${size.toLocaleString("en-US")}`;
    return `| ${what} | ${format(value)} | ${bound === null ? "" : `≤ ${format(bound)}`} |`;
  });
  return ["| figure | measured | goal |", "|---|---:|---:|", ...rows].join("\n");
}

/** We show three digits, because two runs agree in no more. */
const format = (value: number): string =>
  value >= 100 ? Math.round(value).toLocaleString("en-US") : String(Number(value.toPrecision(3)));
