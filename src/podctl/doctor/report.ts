/** Formats the checks as a table for people, with what to do about each finding. Pure. */
import type { Colors } from "picocolors/types";
import { inOneLine } from "../output.ts";
import { advice, type Check } from "./findings.ts";

type Paint = Pick<Colors, "green" | "red" | "yellow" | "bold" | "dim">;

export function formatChecks(checks: readonly Check[], paint: Paint): string {
  const rows = checks.map((check) => [check.pod, check.check, resultOf(check), inOneLine(check.text)] as const);
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  const colours = { ok: paint.green, finding: paint.red, skipped: paint.yellow } as const;
  const lines = rows.map(([pod, check, result, text], index) => {
    const cells = [pod, check, result].map((cell, column) => cell.padEnd(widths[column] ?? 0));
    const [first = "", second = "", third = ""] = cells;
    const same = checks[index - 1]?.pod === pod;
    return `${same ? paint.dim(first) : paint.bold(first)}  ${second}  ${colours[checks[index]?.status ?? "ok"](third)}  ${text}`;
  });
  return [...lines, "", ...whatToDo(checks)].join("\n");
}

const resultOf = (check: Check): string => (check.status === "finding" ? check.finding : check.status);

function whatToDo(checks: readonly Check[]): readonly string[] {
  const found = checks.filter((check) => check.status === "finding");
  const skipped = checks.filter(({ status }) => status === "skipped").length;
  const left = skipped === 0 ? "" : `; ${skipped} skipped`;
  if (found.length === 0) return [`Nothing is wrong: ${checks.length - skipped} checks passed${left}.`];
  return [
    `${found.length} of ${checks.length - skipped} checks found something wrong${left}.`,
    ...found.map(({ pod, finding, text }) => `  ${pod}: ${inOneLine(text)}\n    ${finding}: ${advice[finding]}`),
  ];
}
