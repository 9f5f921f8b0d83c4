/**
 * Reads the line file (`assignmentsFile` in a topology) as a stream, because it may have a million lines. A line is `prefix<TAB>pod`, empty, or a
 * comment that starts with `#`.
 */
import { createReadStream } from "node:fs";
import type { PodId } from "../directory/pod-id.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { type Prefix, parsePrefix } from "../oci/repository-name.ts";
import { refuseHost, unknownPod } from "./check.ts";
import { type LocatedMistake, quote } from "./mistake.ts";

/** No assignment is longer: a prefix has at most 255 characters, a Pod id 63. Comments have the same limit. */
const maxLineCharacters = 1_024;
const maxMistakes = 20;

type Assignments = ReadonlyMap<Prefix, PodId>;

type ReadOptions = {
  readonly pods: ReadonlyMap<PodId, unknown>;
  /** The assignments in the topology file itself, which the line file must not repeat. */
  readonly assignments: Assignments;
  readonly edgeHosts: readonly string[];
  readonly onProgress: (lines: number) => void;
};

export async function readAssignments(
  path: string,
  { assignments, onProgress, ...known }: ReadOptions,
): Promise<Result<Assignments, readonly LocatedMistake[]>> {
  const all = new Map(assignments);
  const mistakes: LocatedMistake[] = [];
  let line = 0;
  try {
    for await (const lines of linesOf(path)) {
      for (const text of lines) {
        line += 1;
        const mistake = addLine(text.replace(/\r$/, ""), known, all);
        if (mistake !== null) mistakes.push({ file: path, line, ...mistake });
      }
      if (mistakes.length >= maxMistakes) return err(mistakes.slice(0, maxMistakes));
      onProgress(lines.length);
    }
  } catch (error) {
    mistakes.push({ file: path, line: line + 1, column: 1, text: `cannot be read: ${(error as Error).message}` });
  }
  return mistakes.length === 0 ? ok(all) : err(mistakes);
}

/** Yields, for each chunk of the file, the lines that end in this chunk. If a line is too long, yields its beginning and ends. */
async function* linesOf(path: string): AsyncGenerator<readonly string[]> {
  let rest = "";
  // The decoder removes a byte order mark, and throws if the file is not UTF-8.
  const decoder = new TextDecoder("utf-8", { fatal: true });
  for await (const chunk of createReadStream(path)) {
    const lines = (rest + decoder.decode(chunk as Buffer, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield lines;
    // One more character may be the `\r` of a line break.
    if (rest.length <= maxLineCharacters + 1) continue;
    yield [rest];
    return;
  }
  rest += decoder.decode();
  if (rest !== "") yield [rest];
}

const longLine = `the line has more than ${maxLineCharacters} characters; want a prefix, a tab and a Pod, or a shorter comment`;

type LineMistake = { readonly column: number; readonly text: string };

type Known = Pick<ReadOptions, "pods" | "edgeHosts">;

function addLine(text: string, known: Known, all: Map<Prefix, PodId>): LineMistake | null {
  if (text.length > maxLineCharacters) return { column: 1, text: longLine };
  if (text === "" || text.startsWith("#")) return null;
  const assignment = parseLine(text, known);
  if (!assignment.ok) return assignment.error;
  const [prefix, pod] = assignment.value;
  if (all.has(prefix)) {
    return { column: 1, text: `prefix ${quote(prefix, [])} is assigned a second time; remove one of the two` };
  }
  all.set(prefix, pod);
  return null;
}

function parseLine(text: string, { pods, edgeHosts }: Known): Result<readonly [Prefix, PodId], LineMistake> {
  const tab = text.indexOf("\t");
  if (tab < 0) return err({ column: 1, text: `${quote(text, [])} has no tab; want a prefix, a tab and a Pod` });
  const prefix = refuseHost(parsePrefix(text.slice(0, tab)), edgeHosts);
  if (!prefix.ok) return err({ column: 1, text: prefix.error });
  const pod = text.slice(tab + 1) as PodId;
  if (!pods.has(pod)) return err({ column: tab + 2, text: unknownPod(pod, pods) });
  return ok([prefix.value, pod]);
}
