/** What commands print: results on standard output, progress and errors on standard error, colour only on a terminal. */
import { progress as progressBar } from "@clack/prompts";
import picocolors from "picocolors";

/** For text on standard output. `CI` alone makes no terminal. */
export const colors = picocolors.createColors(process.stdout.isTTY === true && !process.env["NO_COLOR"]);

export const print = (text: string): void => void process.stdout.write(`${text}\n`);
export const printJson = (value: unknown): void => print(JSON.stringify(value, null, 2));

/** `1234567` as `1,234,567`, whatever the machine's language is. */
export const count = (number: number): string => number.toLocaleString("en-US");
/** `1 key`, `2 keys`. */
export const counted = (number: number, noun: string): string => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

type Progress = {
  readonly advance: (steps: number) => void;
  /** Nothing is drawn after this. */
  readonly end: () => void;
};

/** Short work shows nothing. */
const firstLineMs = 1_500;
const lineEveryMs = 2_000;

/** Steps done, their rate, and when the last of them is to be expected if their number is known. */
export function startProgress(label: string, total: number | null): Progress {
  const startedMs = performance.now();
  let done = 0;
  let drawnMs = startedMs + firstLineMs - lineEveryMs;
  const bar = process.stderr.isTTY === true && total !== null ? startBar(label, total) : null;
  const describe = (nowMs: number) => {
    const perSecond = done / Math.max((nowMs - startedMs) / 1_000, 0.001);
    const rate = `${count(Math.round(perSecond))}/s`;
    if (total === null) return `${label}: ${count(done)}, ${rate}`;
    const left = Math.ceil((total - done) / Math.max(perSecond, 0.001));
    return `${label}: ${count(done)} of ${count(total)}, ${rate}, ${left} s left`;
  };
  return {
    advance(steps) {
      done += steps;
      const nowMs = performance.now();
      if (bar !== null) bar.advance(steps, describe(nowMs));
      if (nowMs - drawnMs < lineEveryMs) return;
      drawnMs = nowMs;
      if (bar === null) process.stderr.write(`${describe(nowMs)}\n`);
    },
    end: () => bar?.stop(describe(performance.now())),
  };
}

function startBar(label: string, total: number) {
  const bar = progressBar({ max: total, output: process.stderr });
  bar.start(label);
  return bar;
}
