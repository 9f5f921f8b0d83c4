import { createReadStream } from "node:fs";
import { cannotRead } from "../failure.ts";
import { startProgress } from "../output.ts";

/** A URL has at most 16 KB, so a request line of a log is never as long as this. */
const maxLineCharacters = 64 * 1024;

/** Yields null for a line that is too long, and keeps only one chunk and one line in memory. */
export async function* linesOf(chunks: AsyncIterable<string>): AsyncGenerator<string | null> {
  let rest = "";
  let tooLong = false;
  for await (const chunk of chunks) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      yield tooLong || line.length > maxLineCharacters ? null : line;
      tooLong = false;
    }
    if (rest.length > maxLineCharacters) {
      rest = "";
      tooLong = true;
    }
  }
  if (tooLong) yield null;
  else if (rest !== "") yield rest;
}

/** Reads standard input if the name is `-`. Yields null for a line that is too long. */
export async function* readLog(log: string): AsyncGenerator<string | null> {
  const progress = startProgress("lines read", null);
  const stream = log === "-" ? process.stdin.setEncoding("utf8") : createReadStream(log, { encoding: "utf8" });
  try {
    for await (const line of linesOf(stream as AsyncIterable<string>)) {
      progress.advance(1);
      // A file may begin with a byte order mark, and standard input may be several files.
      yield line === null ? null : line.replace(/^\uFEFF/, "");
    }
  } catch (error) {
    cannotRead(log, "a log file")(error as Error);
  }
  progress.end();
}

/** The message if no line of a log could be read. Without this message, the report would look as if the log had no requests. */
export const unreadable = (log: string, kind: string): string =>
  `no line of "${log}" is a line of ${kind}; ${howToRead}`;

const howToRead =
  "pipe it into podctl through zcat if it is compressed, and through jq if it is of Logpush, OTLP or wrangler tail (docs/logs.md)";

/**
 * Returns how many requests a log line counts for. The edge logs only a part of the ordinary requests, and `sample` is that part. Null if `sample` is
 * present, but is not a number above 0 and at most 1.
 */
export function requestsOf(sample: unknown): number | null {
  if (sample === undefined) return 1;
  return typeof sample === "number" && sample > 0 && sample <= 1 ? 1 / sample : null;
}
