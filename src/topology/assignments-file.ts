/** The line file of very many assignments, `prefix<TAB>pod`, read as a stream. Empty lines and those that start with `#` count for nothing. */
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { PodId } from "../directory/pod-id.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { type Prefix, parsePrefix } from "../oci/repository-name.ts";
import type { Assignments } from "./assignments.ts";
import { unknownPod } from "./check.ts";
import { type LocatedMistake, quote } from "./mistake.ts";

/** A prefix has at most 255 characters, a Pod id 63. */
const maxLineCharacters = 1_024;
const maxMistakes = 20;
/** Whatever a file's size, memory is taken for a few million names at once; for more as they come. */
const maxReservedBytes = 64 * 1024 * 1024;

type ReadOptions = {
  readonly pods: ReadonlyMap<PodId, unknown>;
  /** Of the topology itself; the file's are added. */
  readonly assignments: Assignments;
  readonly onProgress: (lines: number) => void;
};

export async function readAssignments(
  path: string,
  options: ReadOptions,
): Promise<Result<null, readonly LocatedMistake[]>> {
  const mistakes: LocatedMistake[] = [];
  let line = 0;
  try {
    options.assignments.reserve(Math.min((await stat(path)).size, maxReservedBytes));
    for await (const lines of linesOf(path)) {
      const wrong = addLines(lines, options);
      mistakes.push(...wrong.map((mistake) => ({ file: path, ...mistake, line: line + mistake.line })));
      if (mistakes.length >= maxMistakes) return err(mistakes.slice(0, maxMistakes));
      line += lines.length;
      options.onProgress(lines.length);
    }
  } catch (error) {
    const why = error instanceof LongLine ? error.message : `cannot be read: ${(error as Error).message}`;
    mistakes.push({ file: path, line: line + 1, column: 1, text: why });
  }
  return mistakes.length === 0 ? ok(null) : err(mistakes);
}

class LongLine extends Error {}

/** The whole lines of each chunk. */
async function* linesOf(path: string): AsyncGenerator<readonly string[]> {
  let rest = "";
  // It takes a byte order mark off, and throws at what is not UTF-8.
  const decoder = new TextDecoder("utf-8", { fatal: true });
  for await (const chunk of createReadStream(path)) {
    const lines = (rest + decoder.decode(chunk as Buffer, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield lines;
    if (rest.length > maxLineCharacters) throw longLine();
  }
  rest += decoder.decode();
  if (rest !== "") yield [rest];
}

const longLine = (): LongLine =>
  new LongLine(`the line has more than ${maxLineCharacters} characters; want a prefix, a tab and a Pod`);

type LineMistake = { readonly line: number; readonly column: number; readonly text: string };

/** The mistakes in the order of their lines, of which the first is 1. */
function addLines(lines: readonly string[], { pods, assignments }: ReadOptions): readonly LineMistake[] {
  const mistakes: LineMistake[] = [];
  const prefixes: Prefix[] = [];
  const podIds: PodId[] = [];
  const lineOf: number[] = [];
  for (let at = 0; at < lines.length; at += 1) {
    const text = (lines[at] ?? "").replace(/\r$/, "");
    if (text === "" || text.startsWith("#")) continue;
    const entry = parseLine(text, pods);
    if (entry.ok) {
      prefixes.push(entry.value[0]);
      podIds.push(entry.value[1]);
      lineOf.push(at + 1);
    } else mistakes.push({ line: at + 1, ...entry.error });
  }
  for (const at of assignments.addAll(prefixes, podIds)) {
    const text = `prefix ${quote(prefixes[at] ?? "", [])} is assigned a second time; want it once`;
    mistakes.push({ line: lineOf[at] ?? 0, column: 1, text });
  }
  return mistakes.sort((one, other) => one.line - other.line);
}

function parseLine(
  text: string,
  pods: ReadonlyMap<PodId, unknown>,
): Result<[Prefix, PodId], { readonly column: number; readonly text: string }> {
  if (text.length > maxLineCharacters) return err({ column: 1, text: longLine().message });
  const tab = text.indexOf("\t");
  if (tab < 0) return err({ column: 1, text: `${quote(text, [])} has no tab; want a prefix, a tab and a Pod` });
  const prefix = parsePrefix(text.slice(0, tab));
  if (!prefix.ok) return err({ column: 1, text: prefix.error });
  const pod = text.slice(tab + 1) as PodId;
  if (!pods.has(pod)) return err({ column: tab + 2, text: unknownPod(pod, pods) });
  return ok([prefix.value, pod]);
}
