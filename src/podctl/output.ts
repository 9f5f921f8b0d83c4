/** Prints what commands have to say: results on standard output, progress and errors on standard error. Only a terminal gets colours. */
import picocolors from "picocolors";

/** Colours for text on standard output. We test for a terminal ourselves, because picocolors would take the variable `CI` as a sign of a terminal. */
export const colors = picocolors.createColors(process.stdout.isTTY === true && !process.env["NO_COLOR"]);

export const print = (text: string): void => void process.stdout.write(`${printable(text)}\n`);
export const printJson = (value: unknown): void => print(JSON.stringify(value, null, 2));

const isOnTerminal = () => process.stderr.isTTY === true;
const escapeCode = "\u001b";
const clearLine = `\r${escapeCode}[K`;

/** Prints a line on standard error. On a terminal, the line replaces the progress bar, if one is shown. */
export const note = (text: string): void =>
  void process.stderr.write(`${isOnTerminal() ? clearLine : ""}${printable(text)}\n`);

/**
 * What a reader cannot see: control characters, format characters, separators of lines, and characters that fonts leave out (UAX #44,
 * `Default_Ignorable_Code_Point`). Some format characters reorder the text of a line (CVE-2021-42574).
 */
const invisible = "\\p{Cc}\\p{Cf}\\p{Zl}\\p{Zp}\\p{DI}";

/** Matches the colours that commands use, which may stay, and invisible characters, which are escaped. */
const colourOrInvisible = new RegExp(`${escapeCode}\\[(?:1|2|22|31|32|33|39)m|(?![\\n\\t])[${invisible}]`, "gu");
const anyInvisible = new RegExp(`[${invisible}]`, "gu");

/**
 * Escapes invisible characters, so that text from KV, tokens or Pods cannot look like another text or control the operator's terminal (CWE-150). JSON
 * and YAML have the same escapes, so a topology that podctl prints is still read with the same values.
 */
const printable = (text: string): string =>
  text.replaceAll(colourOrInvisible, (found) =>
    found.startsWith(escapeCode) && found.length > 1 && colors.isColorSupported ? found : inOneLine(found),
  );

/** Escapes line breaks and invisible characters, so that text from elsewhere cannot begin a line that looks like podctl's own. */
export const inOneLine = (text: string): string =>
  text.replaceAll(anyInvisible, (found) =>
    found
      .split("")
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
      .join(""),
  );

/** Escapes only the line breaks in each of these lines (see `inOneLine`), so that the lines keep their colours. */
export const asLines = (lines: readonly string[]): readonly string[] =>
  lines.map((line) => line.replaceAll("\n", inOneLine));

/** Formats `1234567` as `1,234,567`, whatever the machine's language is. */
export const count = (number: number): string => number.toLocaleString("en-US");
/** Returns a number with its noun, such as `1 key`, `2 keys` or `2 repositories`. */
export const counted = (number: number, noun: string): string =>
  `${count(number)} ${number === 1 ? noun : pluralOf(noun)}`;

const pluralOf = (noun: string): string => (/[^aeiou]y$/.test(noun) ? `${noun.slice(0, -1)}ies` : `${noun}s`);

/** Returns each item with its cells, which are padded with blanks so that all cells of a column have one width. */
export function inColumns<Item, const Cells extends readonly string[]>(
  items: readonly Item[],
  cellsOf: (item: Item) => Cells,
): readonly (readonly [Item, { readonly [Column in keyof Cells]: string }])[] {
  const rows = items.map((item) => [item, cellsOf(item)] as const);
  const widths: number[] = [];
  for (const [, cells] of rows)
    for (const [column, { length }] of cells.entries()) widths[column] = Math.max(widths[column] ?? 0, length);
  const padded = (cells: Cells) => cells.map((cell, column) => cell.padEnd(widths[column] ?? 0));
  return rows.map(([item, cells]) => [item, padded(cells) as { [Column in keyof Cells]: string }]);
}

type Progress = {
  readonly advance: (steps: number) => void;
  readonly end: () => void;
};

/** Work that takes less time than this shows no progress. */
const firstLineMs = 1_500;
const lineEveryMs = 2_000;
const barEveryMs = 100;

/**
 * Reports the steps that are done, their rate and, if the total is known, the seconds that are left. If the total is known, a terminal shows a bar;
 * otherwise each report is a new line. The bar handles no signals and no keys, so Ctrl-C still ends the command.
 */
export function startProgress(label: string, total: number | null): Progress {
  const startedMs = performance.now();
  const hasBar = isOnTerminal() && total !== null;
  const everyMs = hasBar ? barEveryMs : lineEveryMs;
  let done = 0;
  let drawnMs = startedMs + firstLineMs - everyMs;
  let isBarDrawn = false;
  const describe = (nowMs: number) => {
    const perSecond = done / Math.max((nowMs - startedMs) / 1_000, 0.001);
    const rate = `${count(Math.round(perSecond))}/s`;
    // `total` can be too low: a plan counts the keys of the topology file, and KV may have more. Then we show no total.
    if (total === null || done > total) return `${label}: ${count(done)}, ${rate}`;
    const left = Math.ceil((total - done) / Math.max(perSecond, 0.001));
    return `${label}: ${count(done)} of ${count(total)}, ${rate}, ${left} s left`;
  };
  return {
    advance(steps) {
      done += steps;
      const nowMs = performance.now();
      if (nowMs - drawnMs < everyMs) return;
      drawnMs = nowMs;
      isBarDrawn = hasBar;
      process.stderr.write(hasBar ? barLine(done / Math.max(total, 1), describe(nowMs)) : `${describe(nowMs)}\n`);
    },
    end() {
      if (isBarDrawn) process.stderr.write(clearLine);
    },
  };
}

const barCharacters = 30;

function barLine(part: number, text: string): string {
  const filled = Math.min(Math.floor(part * barCharacters), barCharacters);
  const line = `${"━".repeat(filled)}${"─".repeat(barCharacters - filled)} ${text}`;
  return clearLine + line.slice(0, (process.stderr.columns || 80) - 1);
}
