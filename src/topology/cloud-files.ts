/** Reads the address ranges that clouds publish, from the files that a topology names. */
import { readFile, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import * as v from "valibot";
import { parseJson } from "../lib/json.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { type CloudName, cloudFormats, cloudNames, cloudPaths } from "./cloud-formats.ts";
import { type Mistake, mistakeOf, quote } from "./mistake.ts";

export type CloudFile = {
  readonly cloud: CloudName;
  /** The path as the topology names it. */
  readonly path: string;
  /** When the ranges were published. If `dateFrom` is "file time", this is only the time when the file was saved on this machine. */
  readonly publishedAt: Date;
  readonly dateFrom: "content" | "name" | "file time";
  /** The CIDRs of each region. The CIDRs without a region are under the name "". */
  readonly regions: ReadonlyMap<string, readonly string[]>;
};

export type CloudFiles = ReadonlyMap<CloudName, CloudFile>;

/** The largest file today is Azure's, with 4 MB. */
const maxFileBytes = 32 * 1024 * 1024;

/** `topology` is the path of the topology file, and `input` is its parsed content. */
export async function readCloudFiles(
  topology: string,
  input: unknown,
): Promise<Result<CloudFiles, readonly Mistake[]>> {
  const parsed = v.safeParse(v.object({ clouds: v.optional(cloudPaths, {}) }), input);
  if (!parsed.success) return err(parsed.issues.map(mistakeOf));
  const files = new Map<CloudName, CloudFile>();
  const mistakes: Mistake[] = [];
  for (const cloud of cloudNames) {
    const path = parsed.output.clouds[cloud];
    if (path === undefined) continue;
    const file = await readCloudFile(cloud, path, resolve(dirname(topology), path));
    if (file.ok) files.set(cloud, file.value);
    else mistakes.push({ path: ["clouds", cloud], at: "value", text: `${quote(path, [])} ${file.error}` });
  }
  return mistakes.length === 0 ? ok(files) : err(mistakes);
}

async function readCloudFile(cloud: CloudName, path: string, file: string): Promise<Result<CloudFile, string>> {
  const { name, schema } = cloudFormats[cloud];
  try {
    const { size, mtime } = await stat(file);
    if (size > maxFileBytes) return err(`has ${size} bytes; want at most ${maxFileBytes}`);
    const json = parseJson(await readFile(file, "utf8"));
    if (json === undefined) return err(`is not JSON; want ${name}`);
    const content = v.safeParse(schema, json);
    if (!content.success) return err(`is not ${name}: ${whatIsWrong(content.issues[0])}`);
    const { publishedAt, entries } = content.output;
    const regions = Map.groupBy(entries, ([region]) => region);
    return ok({
      cloud,
      path,
      ...dateOf(publishedAt, path, mtime),
      regions: new Map([...regions].map(([region, some]) => [region, some.map(([, cidr]) => cidr)])),
    });
  } catch (error) {
    return err(`cannot be read: ${(error as Error).message}`);
  }
}

/**
 * Azure writes the date only into the name of its file. We prefer this date to the file's time of change, because a checkout of a repository sets
 * that time anew.
 */
function dateOf(publishedAt: Date | null, path: string, mtime: Date): Pick<CloudFile, "publishedAt" | "dateFrom"> {
  if (publishedAt !== null) return { publishedAt, dateFrom: "content" };
  const [, year, month, day] = /_(\d{4})(\d\d)(\d\d)\.json$/.exec(path) ?? [];
  const named = new Date(`${year}-${month}-${day}T00:00:00Z`);
  return Number.isNaN(named.getTime())
    ? { publishedAt: mtime, dateFrom: "file time" }
    : { publishedAt: named, dateFrom: "name" };
}

function whatIsWrong(issue: v.BaseIssue<unknown>): string {
  const { path, text } = mistakeOf(issue);
  return path.length === 0 ? text : `${path.join(".")} ${text}`;
}
