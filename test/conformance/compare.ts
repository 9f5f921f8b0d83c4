import type { Report, Row, Status } from "./report.ts";

export type Difference = { readonly name: string; readonly straight: string; readonly edge: string };

/** A result that fails in both runs must fail with the same HTTP statuses. */
export function differences(straight: Report, edge: Report): readonly Difference[] {
  const one = byName(straight.rows);
  const other = byName(edge.rows);
  const names = new Set([...one.keys(), ...other.keys()]);
  const found = [...names].flatMap((name) => differencesOf(name, one.get(name) ?? [], other.get(name) ?? []));
  return [...withoutParents(found), ...differingTotals(straight, edge)];
}

export type Regression = { readonly name: string; readonly own: string; readonly model: string };

/** Returns the rows that pass in `model` and fail in `rows`. */
export function regressions(rows: readonly Row[], model: readonly Row[]): readonly Regression[] {
  const own = byName(rows);
  return [...byName(model)].flatMap(([name, modelRows]) => {
    const failed = count(own.get(name) ?? [], "FAIL") + count(own.get(name) ?? [], "Error");
    const mayFail = modelRows.length - count(modelRows, "Pass");
    return failed > mayFail ? [{ name, own: statuses(own.get(name) ?? []), model: statuses(modelRows) }] : [];
  });
}

function byName(rows: readonly Row[]): ReadonlyMap<string, readonly Row[]> {
  return Map.groupBy(rows, ({ name }) => name);
}

/** The suite walks Go maps, so the order of results with the same name changes from run to run. */
function differencesOf(name: string, straight: readonly Row[], edge: readonly Row[]): readonly Difference[] {
  const one = straight.map(label).sort();
  const other = edge.map(label).sort();
  if (one.join() === other.join()) return [];
  const [onlyStraight, onlyEdge] = [without(one, other), without(other, one)];
  return Array.from({ length: Math.max(onlyStraight.length, onlyEdge.length) }, (_, index) => ({
    name: straight.length > 1 ? `${name} (${straight.length} of this name)` : name,
    straight: onlyStraight[index] ?? "absent",
    edge: onlyEdge[index] ?? "absent",
  }));
}

function without(all: readonly string[], taken: readonly string[]): readonly string[] {
  const left = [...taken];
  return all.filter((item) => {
    const index = left.indexOf(item);
    if (index >= 0) left.splice(index, 1);
    return index < 0;
  });
}

/** If a result such as `a/b` differs, its group `a` differs too. This leaves out such a group, because it tells nothing new. */
function withoutParents(found: readonly Difference[]): readonly Difference[] {
  return found.filter(
    ({ name }) => !found.some((other) => other.name.startsWith(`${name}/`) || (name === "all" && other.name !== "all")),
  );
}

function differingTotals(straight: Report, edge: Report): readonly Difference[] {
  const kinds = Object.keys(straight.totals) as (keyof typeof straight.totals)[];
  return kinds
    .filter((kind) => straight.totals[kind] !== edge.totals[kind])
    .map((kind) => ({
      name: `(total of ${kind})`,
      straight: String(straight.totals[kind]),
      edge: String(edge.totals[kind]),
    }));
}

const label = ({ status, received }: Row): string =>
  received.length === 0 ? status : `${status} (received ${received.join(", ")})`;
const count = (rows: readonly Row[], status: Status): number => rows.filter((row) => row.status === status).length;
const statuses = (rows: readonly Row[]): string => rows.map(label).sort().join(", ");
