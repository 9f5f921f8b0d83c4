/** Reads a topology file and the files that it names, fills in placeholders and the CIDRs of clouds, and checks the result. */
import { isUtf8 } from "node:buffer";
import { readFile, stat } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";
import { err, ok, type Result } from "../lib/result.ts";
import { readAssignments } from "./assignments-file.ts";
import { type CheckedTopology, checkTopology } from "./check.ts";
import { type CloudFiles, readCloudFiles } from "./cloud-files.ts";
import { fillClouds } from "./cloud-ranges.ts";
import { formatPath, type LocatedMistake, type Mistake } from "./mistake.ts";
import { fillPlaceholders, type Placeholders } from "./placeholders.ts";
import type { Rules, Topology } from "./topology.ts";
import { parseYaml, type Yaml } from "./yaml.ts";

/** The limit exists because parsed YAML takes a hundred times the file's size in memory. */
const maxFileBytes = 8 * 1024 * 1024;

type LoadOptions = Rules & {
  readonly placeholders: Placeholders | null;
  /** Called with the number of lines that were read from the line file since the last call. */
  readonly onProgress?: (lines: number) => void;
};

/** A topology with the content of the files that it names. */
export type LoadedTopology = Topology & { readonly cloudFiles: CloudFiles };

export async function loadTopology(
  path: string,
  options: LoadOptions,
): Promise<Result<LoadedTopology, readonly LocatedMistake[]>> {
  const text = await readText(path);
  if (!text.ok) return err([{ file: path, line: 1, column: 1, text: text.error }]);
  const yaml = parseText(path, text.value, options);
  if (!yaml.ok) return yaml;
  const cloudFiles = await readCloudFiles(path, yaml.value.value);
  if (!cloudFiles.ok) return err(located(path, yaml.value, cloudFiles.error));
  const checked = checkYaml(path, yaml.value, { rules: options, cloudFiles: cloudFiles.value });
  if (!checked.ok) return checked;
  const topology = { ...checked.value, cloudFiles: cloudFiles.value };
  const { assignmentsFile, pods, assignments, edgeHosts } = topology;
  if (assignmentsFile === undefined) return ok(topology);
  const onProgress = options.onProgress ?? (() => {});
  const file = isAbsolute(assignmentsFile) ? assignmentsFile : join(dirname(path), assignmentsFile);
  const read = await readAssignments(file, { pods, assignments, edgeHosts, onProgress });
  return read.ok ? ok({ ...topology, assignments: read.value }) : read;
}

/**
 * Parses a topology without the files that it names. A condition that names a cloud is a mistake, because the cloud's addresses are in such a file.
 */
export function parseTopology(
  file: string,
  text: string,
  options: LoadOptions,
): Result<CheckedTopology, readonly LocatedMistake[]> {
  const yaml = parseText(file, text, options);
  return yaml.ok ? checkYaml(file, yaml.value, { rules: options, cloudFiles: new Map() }) : yaml;
}

function parseText(file: string, text: string, { placeholders }: LoadOptions): Result<Yaml, readonly LocatedMistake[]> {
  const filled = fillPlaceholders(text, placeholders);
  const yaml = filled.ok ? parseYaml(filled.value) : filled;
  return yaml.ok ? yaml : err(yaml.error.map((mistake) => ({ file, ...mistake })));
}

function checkYaml(
  file: string,
  yaml: Yaml,
  { rules, cloudFiles }: { readonly rules: Rules; readonly cloudFiles: CloudFiles },
): Result<CheckedTopology, readonly LocatedMistake[]> {
  const unfilled = fillClouds(yaml.value, cloudFiles);
  const checked = unfilled.length > 0 ? err(unfilled) : checkTopology(yaml.value, rules);
  if (!checked.ok) return err(located(file, yaml, checked.error));
  // Without a default Pod, the first Pod of the file decides about logins, so the Pods keep the order of the file.
  const order = yaml.namesIn("pods");
  const pods = new Map([...checked.value.pods].toSorted(([one], [other]) => order.indexOf(one) - order.indexOf(other)));
  return ok({ ...checked.value, pods });
}

const located = (file: string, { locate }: Yaml, mistakes: readonly Mistake[]): readonly LocatedMistake[] =>
  mistakes.map(({ path, at, text }) => ({
    file,
    ...locate(path, at),
    text: path.length === 0 ? text : `${formatPath(path)}: ${text}`,
  }));

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
