/** Reads a topology file, fills its placeholders, parses and checks it; gives the topology, or every mistake with its place. */
import { isUtf8 } from "node:buffer";
import { readFile, stat } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";
import { err, ok, type Result } from "../lib/result.ts";
import { readAssignments } from "./assignments-file.ts";
import { type CheckedTopology, checkTopology } from "./check.ts";
import { formatPath, type LocatedMistake } from "./mistake.ts";
import { fillPlaceholders, type Placeholders } from "./placeholders.ts";
import type { Rules, Topology } from "./topology.ts";
import { parseYaml } from "./yaml.ts";

/** Parsed YAML takes a hundred times the file's size in memory. */
const maxFileBytes = 8 * 1024 * 1024;

type LoadOptions = Rules & {
  readonly placeholders: Placeholders | null;
  /** Called with the number of lines that were read from the line file since the last call. */
  readonly onProgress?: (lines: number) => void;
};

export async function loadTopology(
  path: string,
  options: LoadOptions,
): Promise<Result<Topology, readonly LocatedMistake[]>> {
  const text = await readText(path);
  if (!text.ok) return err([{ file: path, line: 1, column: 1, text: text.error }]);
  const checked = parseTopology(path, text.value, options);
  if (!checked.ok || checked.value.assignmentsFile === undefined) return checked;
  const { assignmentsFile, pods, assignments } = checked.value;
  const onProgress = options.onProgress ?? (() => {});
  const file = isAbsolute(assignmentsFile) ? assignmentsFile : join(dirname(path), assignmentsFile);
  const read = await readAssignments(file, { pods, assignments, onProgress });
  return read.ok ? ok({ ...checked.value, assignments: read.value }) : read;
}

/** The topology without the assignments of its line file. */
export function parseTopology(
  file: string,
  text: string,
  { placeholders, ...rules }: LoadOptions,
): Result<CheckedTopology, readonly LocatedMistake[]> {
  const filled = fillPlaceholders(text, placeholders);
  if (!filled.ok) return err(filled.error.map((mistake) => ({ file, ...mistake })));
  const yaml = parseYaml(filled.value);
  if (!yaml.ok) return err(yaml.error.map((mistake) => ({ file, ...mistake })));
  const checked = checkTopology(yaml.value.value, rules);
  if (checked.ok) return checked;
  return err(
    checked.error.map(({ path, at, text }) => ({
      file,
      ...yaml.value.locate(path, at),
      text: path.length === 0 ? text : `${formatPath(path)}: ${text}`,
    })),
  );
}

async function readText(path: string): Promise<Result<string, string>> {
  try {
    const { size } = await stat(path);
    if (size > maxFileBytes) {
      return err(
        `the file has ${size} bytes; want at most ${maxFileBytes}; move the assignments to an assignmentsFile`,
      );
    }
    const bytes = await readFile(path);
    return isUtf8(bytes) ? ok(bytes.toString("utf8")) : err("the file is not UTF-8; save it as UTF-8");
  } catch (error) {
    return err(`the file cannot be read: ${(error as Error).message}`);
  }
}
