/** What commands print: results on standard output, progress and errors on standard error, colour only on a terminal. */
import picocolors from "picocolors";

/** For text on standard output. `CI` alone makes no terminal. */
export const colors = picocolors.createColors(process.stdout.isTTY === true && !process.env["NO_COLOR"]);

export const print = (text: string): void => void process.stdout.write(`${text}\n`);
export const printJson = (value: unknown): void => print(JSON.stringify(value, null, 2));

/** `1234567` as `1,234,567`, whatever the machine's language is. */
export const count = (number: number): string => number.toLocaleString("en-US");
/** `1 key`, `2 keys`. */
export const counted = (number: number, noun: string): string => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

const clearLine = "\r\u001b[K";
let isBarDrawn = false;

function clearBar(): void {
  if (isBarDrawn) process.stderr.write(clearLine);
  isBarDrawn = false;
}

/** A line on standard error, in the place of a bar if one stands there. */
export function note(text: string): void {
  clearBar();
  process.stderr.write(`${text}\n`);
}

type Progress = {
  readonly advance: (steps: number) => void;
  /** Nothing is drawn after this. */
  readonly end: () => void;
};

/** Short work shows nothing. */
const firstLineMs = 1_500;
const lineEveryMs = 2_000;
const barEveryMs = 100;

/**
 * Steps done, their rate, and when the last of them is to be expected if their number is known: on a terminal with a bar that stays
 * on its line, elsewhere as lines. It takes no signals and no keys: Ctrl-C ends the command as if there was no bar.
 */
export function startProgress(label: string, total: number | null): Progress {
  const startedMs = performance.now();
  const hasBar = process.stderr.isTTY === true && total !== null;
  const everyMs = hasBar ? barEveryMs : lineEveryMs;
  let done = 0;
  let drawnMs = startedMs + firstLineMs - everyMs;
  const describe = (nowMs: number) => {
    const perSecond = done / Math.max((nowMs - startedMs) / 1_000, 0.001);
    const rate = `${count(Math.round(perSecond))}/s`;
    // Of keys to compare only those of the file are known beforehand.
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
      if (hasBar) drawBar(done / Math.max(total, 1), describe(nowMs));
      else process.stderr.write(`${describe(nowMs)}\n`);
    },
    end: clearBar,
  };
}

const barCharacters = 30;

function drawBar(part: number, text: string): void {
  const filled = Math.min(Math.floor(part * barCharacters), barCharacters);
  const line = `${"━".repeat(filled)}${"─".repeat(barCharacters - filled)} ${text}`;
  process.stderr.write(clearLine + line.slice(0, (process.stderr.columns || 80) - 1));
  isBarDrawn = true;
}
