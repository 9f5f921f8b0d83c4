/** Makes a topology from the records in KV, as the inverse of `topologyRecords`. Pure. */
import type * as v from "valibot";
import { Document, visit } from "yaml";
import { kindOf, nameIn } from "../directory/keys.ts";
import type { PodId } from "../directory/pod-id.ts";
import {
  type AssignmentRecord,
  assignmentRecord,
  blocksRecord,
  type DirectoryRecord,
  directoryRecord,
  ownerRecord,
  type PodRecord,
  parseRecord,
  podRecord,
} from "../directory/records.ts";
import { ok, type Result } from "../lib/result.ts";
import type { LiveRecord } from "./difference.ts";

export type ExportedTopology = {
  /** The assignments that may be in a line file, because their groups have no settings. */
  readonly assignments: readonly (readonly [prefix: string, pod: string])[];
  /**
   * The members of the topology file. If the caller names a line file (one line per assignment), the member `assignments` has only those with
   * settings, and the caller must write the others into the line file.
   */
  readonly members: (assignmentsFile: string | undefined) => object;
};

/** The error names the key of a record that does not parse. */
export function exportTopology(records: readonly LiveRecord[]): Result<ExportedTopology, string> {
  const byKind = Map.groupBy(records, ({ key }) => kindOf(key));
  const pods = parseAll(byKind.get("pod"), podRecord);
  if (!pods.ok) return pods;
  const cells = parseAll(byKind.get("cell"), ownerRecord);
  if (!cells.ok) return cells;
  const routes = parseAll(byKind.get("route"), assignmentRecord);
  if (!routes.ok) return routes;
  const blocks = parseAll(byKind.get("blocks"), blocksRecord);
  if (!blocks.ok) return blocks;
  const directory = parseAll(byKind.get("directory"), directoryRecord);
  if (!directory.ok) return directory;
  const [blocked] = blocks.value.map(([, only]) => only.blocks);
  const [record = null] = directory.value.map(([, only]) => only);
  const assignments = routes.value.map(([prefix, route]) => [prefix, assignmentOf(route)] as const);
  const withSettings = assignments.filter(([, assignment]) => typeof assignment !== "string");
  return ok({
    assignments: assignments.flatMap(([prefix, pod]) => (typeof pod === "string" ? [[prefix, pod] as const] : [])),
    members: (assignmentsFile) => ({
      pods: podsOf(pods.value, cells.value, record),
      ...inlineOf(assignmentsFile === undefined ? assignments : withSettings),
      ...(assignmentsFile === undefined ? {} : { assignmentsFile }),
      ...(record?.default === undefined ? {} : { default: record.default }),
      credentials: record?.credentials ?? "own",
      ...(record?.aliases === undefined ? {} : { aliases: record.aliases }),
      ...(blocked === undefined || blocked.size === 0 ? {} : { blocks: Object.fromEntries(blocked) }),
    }),
  });
}

/** Returns the text of the whole file. Callers must keep its last newline, because the newline may be part of the file's last value. */
export function formatTopology(members: object): string {
  const document = new Document(members, { aliasDuplicateObjects: false });
  visit(document, {
    Scalar(_, node) {
      // In a text, "${" and invisible characters are escaped later (`withoutPlaceholders`, `print`). YAML reads escapes only in double quotes.
      if (typeof node.value === "string" && /[^\n\t -~]|\$\{/.test(node.value)) node.type = "QUOTE_DOUBLE";
    },
  });
  return withoutPlaceholders(document.toString({ lineWidth: 0 }));
}

/** Returns the topology file in JSON. podctl fills placeholders in JSON as in YAML, so `${` is escaped here, too. */
export const formatTopologyJson = (members: object): string => {
  const plain = (_: string, value: unknown) => (value instanceof Map ? Object.fromEntries(value) : value);
  return withoutPlaceholders(JSON.stringify(members, plain, 2));
};

/** Escapes a text such as `${NAME}`, which podctl would take for a placeholder of the local stack. The text must be in double quotes. */
const withoutPlaceholders = (file: string): string => file.replaceAll("${", "\\u0024{");

type Named<T> = readonly (readonly [name: string, record: T])[];

function parseAll<T>(
  records: readonly LiveRecord[] | undefined,
  schema: v.GenericSchema<unknown, T>,
): Result<Named<T>, string> {
  const all: (readonly [string, T])[] = [];
  for (const { key, text } of records ?? []) {
    const record = parseRecord(key, text, schema);
    if (!record.ok) return record;
    all.push([nameIn(key), record.value]);
  }
  return ok(all);
}

/**
 * Returns the Pods in the order of the directory record, because that order is part of the record. In an object instead of a map, ids that are
 * numbers would come first.
 */
function podsOf(
  pods: Named<PodRecord>,
  cells: Named<{ readonly pod: string }>,
  directory: DirectoryRecord | null,
): ReadonlyMap<string, object> {
  const byId = new Map(pods);
  const ids = new Set<string>([...(directory?.pods ?? []).filter((id) => byId.has(id)), ...byId.keys()]);
  const cellsOf = Map.groupBy(cells, ([, { pod }]) => pod);
  return new Map(
    [...ids].map((id) => [
      id,
      podOf(
        byId.get(id),
        cellsOf.get(id)?.map(([cell]) => cell),
      ),
    ]),
  );
}

const inlineOf = (assignments: readonly (readonly [string, string | object])[]): object =>
  assignments.length === 0 ? {} : { assignments: Object.fromEntries(assignments) };

/** A move is left out, because an apply does not change moves. */
function assignmentOf(record: AssignmentRecord): string | object {
  const { v: _, revision: __, move: ___, pod: ____, state, ...settings } = record;
  const pod = podInFile(record);
  if (state === "active" && Object.keys(settings).length === 0) return pod;
  return { pod, ...(state === "active" ? {} : { state }), ...settings };
}

/**
 * Returns the Pod to which the file assigns a group. In `settle`, pushes go to the new Pod, so an apply after the move must not give the group
 * back to the old Pod.
 */
export const podInFile = ({ pod, move }: AssignmentRecord): PodId => (move?.phase === "settle" ? move.to : pod);

function podOf(record: PodRecord | undefined, cells: readonly string[] | undefined): object {
  const { v: _, revision: __, state, ...pod } = record ?? {};
  return { ...(state === "active" ? {} : { state }), ...pod, ...(cells === undefined ? {} : { cells }) };
}
