import { colors, inColumns, inOneLine } from "../output.ts";
import { advice, type Check } from "./findings.ts";

const paints = { ok: colors.green, finding: colors.red, skipped: colors.yellow } as const;

export function formatChecks(checks: readonly Check[]): string {
  const rows = inColumns(checks, (check) => [check.pod, check.check, resultOf(check)]);
  const lines = rows.map(([check, [pod, name, result]], index) => {
    const isSamePod = checks[index - 1]?.pod === check.pod;
    const begin = isSamePod ? colors.dim(pod) : colors.bold(pod);
    return `${begin}  ${name}  ${paints[check.status](result)}  ${inOneLine(check.text)}`;
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
