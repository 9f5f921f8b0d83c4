/** The line file of very many assignments, `prefix<TAB>pod`, read as a stream. Empty lines and those that start with `#` count for nothing. */
import { createReadStream } from "node:fs";
import type { Assignments } from "../directory/assignments.ts";
import type { PodId } from "../directory/pod-id.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { parsePrefix } from "../oci/repository-name.ts";
import { unknownPod } from "./check.ts";
import { type LocatedMistake, quote } from "./mistake.ts";

/** A prefix has at most 255 characters, a Pod id 63. */
const maxLineCharacters = 1_024;
const maxMistakes = 20;

type ReadOptions = {
  /** As messages name it. */
  readonly name: string;
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
    for await (const lines of linesOf(path)) {
      for (const text of lines) {
        line += 1;
        const wrong = text === "" || text.startsWith("#") ? null : addAssignment(text, options);
        if (wrong !== null) mistakes.push({ file: options.name, line, ...wrong });
        if (mistakes.length === maxMistakes) return err(mistakes);
      }
      options.onProgress(lines.length);
    }
  } catch (error) {
    const why = error instanceof LongLine ? error.message : `cannot be read: ${(error as Error).message}`;
    mistakes.push({ file: options.name, line: line + 1, column: 1, text: why });
  }
  return mistakes.length === 0 ? ok(null) : err(mistakes);
}

class LongLine extends Error {}

/** The whole lines of each chunk. */
async function* linesOf(path: string): AsyncGenerator<readonly string[]> {
  let rest = "";
  for await (const chunk of createReadStream(path, { encoding: "utf8", highWaterMark: 1 << 18 })) {
    const lines = (rest + (chunk as string)).split("\n");
    rest = lines.pop() ?? "";
    yield lines;
    if (rest.length > maxLineCharacters) throw longLine();
  }
  if (rest !== "") yield [rest];
}

const longLine = (): LongLine =>
  new LongLine(`the line has more than ${maxLineCharacters} characters; want a prefix, a tab and a Pod`);

function addAssignment(line: string, { pods, assignments }: ReadOptions): { column: number; text: string } | null {
  if (line.length > maxLineCharacters) return { column: 1, text: longLine().message };
  const text = line.endsWith("\r") ? line.slice(0, -1) : line;
  const tab = text.indexOf("\t");
  if (tab < 0) return { column: 1, text: `${quote(text, [])} has no tab; want a prefix, a tab and a Pod` };
  const prefix = parsePrefix(text.slice(0, tab));
  if (!prefix.ok) return { column: 1, text: prefix.error };
  const pod = text.slice(tab + 1) as PodId;
  if (!pods.has(pod)) return { column: tab + 2, text: unknownPod(pod, pods) };
  if (assignments.add(prefix.value, pod)) return null;
  return { column: 1, text: `prefix ${quote(prefix.value, [])} is assigned a second time; want it once` };
}
