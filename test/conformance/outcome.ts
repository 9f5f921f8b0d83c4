import { differences, regressions } from "./compare.ts";
import type { Registry } from "./registries.ts";
import { type Report, type Totals, totalOf } from "./report.ts";

export type Outcome = {
  readonly registry: Registry;
  readonly straight: Report;
  readonly edge: Report;
  readonly blobRedirects: number;
};

const header = ["registry", "rows", "straight pass/fail/skip", "edge pass/fail/skip", "differ", "blob 307s"];

export function table(outcomes: readonly Outcome[]): string {
  const lines = outcomes.map(({ registry, straight, edge, blobRedirects }) => [
    registry.title,
    String(totalOf(straight.totals)),
    figures(straight.totals),
    figures(edge.totals),
    String(differences(straight, edge).length),
    String(blobRedirects),
  ]);
  const widths = header.map((title, column) =>
    Math.max(title.length, ...lines.map((cells) => cells[column]?.length ?? 0)),
  );
  const format = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
  return [header, ...lines].map(format).join("\n");
}

const figures = ({ Pass, FAIL, Error: errors, Skip, Disabled }: Totals): string =>
  `${Pass}/${FAIL + errors}/${Skip + Disabled}`;

export function faults(outcomes: readonly Outcome[]): readonly string[] {
  return [...outcomes.flatMap(faultsOf), ...toyFaults(outcomes)];
}

function faultsOf({ registry, straight, edge, blobRedirects }: Outcome): readonly string[] {
  const { title, leastPassed } = registry;
  const found = differences(straight, edge).map(
    (row) => `${title}: ${row.name}: straight ${row.straight}, edge ${row.edge}`,
  );
  if (straight.totals.Pass < leastPassed) {
    found.push(`${title}: straight passes ${straight.totals.Pass} rows, ${leastPassed} are known to pass`);
  }
  if (blobRedirects === 0) found.push(`${title}: the edge redirected no blob`);
  return found;
}

function toyFaults(outcomes: readonly Outcome[]): readonly string[] {
  const reportOf = (id: string) => outcomes.find(({ registry }) => registry.id === id)?.straight;
  const [toy, model] = [reportOf("toy"), reportOf("distribution-v3")];
  if (toy === undefined || model === undefined) return [];
  return regressions(toy.rows, model.rows).map(
    ({ name, own, model }) => `toy Pod fails what distribution passes: ${name}: toy ${own}, distribution ${model}`,
  );
}
