/** The conformance suite's own report: a tree of named results, each with what it expected and received, and totals. */

export type Status = "Pass" | "FAIL" | "Skip" | "Disabled" | "Error" | "Unknown";

/** `received` has the HTTP statuses of the result's error messages, in their order. */
export type Row = { readonly name: string; readonly status: Status; readonly received: readonly string[] };

/** How many of the suite's checks ended with each status. There are more checks than results, because one result can cover several checks. */
export type Totals = Readonly<Record<Exclude<Status, "Unknown">, number>>;

export type Report = { readonly rows: readonly Row[]; readonly totals: Totals };

const resultLine = /^ *(OCI Conformance Test(?:\/.*)?): (Pass|FAIL|Skip|Disabled|Error|Unknown)$/;
const complaintLine = /^ +- (.*)$/;
const totalLine = /^ {2}(Pass|FAIL|Skip|Disabled|Error)\.*: +(\d+)$/;

/** Returns null if the suite ended before it printed a report. */
export function parseReport(text: string): Report | null {
  const [tree = "", ending] = text.split(/^OCI Conformance Result: .*$/m);
  if (ending === undefined) return null;
  const rows = parseRows(tree);
  const totals = { Pass: 0, FAIL: 0, Skip: 0, Disabled: 0, Error: 0 };
  for (const line of ending.split("\nAPI conformance:", 1).join().split("\n")) {
    const [, status, count] = totalLine.exec(line) ?? [];
    if (status !== undefined) totals[status as keyof Totals] = Number(count);
  }
  return rows.length === 0 ? null : { rows, totals };
}

function parseRows(tree: string): Row[] {
  const rows: { name: string; status: Status; received: string[] }[] = [];
  for (const line of tree.split("\n")) {
    const [, name, status] = resultLine.exec(line) ?? [];
    if (name !== undefined) {
      rows.push({
        name: name.replace(/^OCI Conformance Test\/?/, "") || "all",
        status: status as Status,
        received: [],
      });
      continue;
    }
    const complaint = complaintLine.exec(line)?.[1];
    const codes = complaint?.matchAll(/received (?:status )?(\d{3})\b/g) ?? [];
    for (const [, code = ""] of codes) rows.at(-1)?.received.push(code);
  }
  return rows;
}

export const totalOf = (totals: Totals): number => Object.values(totals).reduce((sum, count) => sum + count, 0);
