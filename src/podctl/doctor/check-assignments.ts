import type { Directory } from "../../directory/directory.ts";
import { nameIn, routePrefix } from "../../directory/keys.ts";
import { type AssignmentRecord, assignmentRecord, type DirectoryRecord, parseRecord } from "../../directory/records.ts";
import { componentsOf, type Prefix } from "../../oci/repository-name.ts";
import { isWithin } from "../../topology/record-text.ts";
import { counted } from "../output.ts";
import type { KvStore } from "../target/kv-store.ts";
import { readLive } from "../write/live-directory.ts";
import { type Check, Checks } from "./findings.ts";

const maxNamed = 5;

/** Checks that the edge finds and can read every assignment, and that each Pod that is named has a record. `pods` are all Pods that have one. */
export async function checkAssignments(
  directory: Directory,
  kv: Pick<KvStore, "list" | "read">,
  pods: readonly string[],
): Promise<readonly Check[]> {
  const checks = new Checks("edge");
  const record = await directory.record();
  // `checkDeployment` reports a directory record that does not parse. If the record has no depth, the edge looks up prefixes of any length.
  const depth = record.ok ? record.value.depth : undefined;
  const deeper: string[] = [];
  const wrong: string[] = [];
  const known = new Set(pods);
  const podless: string[] = [];
  const note = (who: string, ids: readonly string[]) =>
    podless.push(...ids.filter((id) => !known.has(id)).map((id) => `${who} names "${id}"`));
  if (record.ok) note("the directory record", podsOf(record.value));
  for await (const page of readLive(kv, routePrefix)) {
    for (const { key, text } of page) {
      const parsed = parseRecord(key, text, assignmentRecord);
      if (!parsed.ok) wrong.push(parsed.error);
      else note(nameIn(key), podsIn(parsed.value));
      // The edge looks up only prefixes of at most `depth` components, so it misses a longer one.
      if (!isWithin(componentsOf(nameIn(key) as Prefix), { depth })) deeper.push(nameIn(key));
    }
  }
  if (deeper.length > 0) {
    const text = `deeper than the directory's depth of ${depth}: ${named(deeper)}`;
    checks.found("depth", "assignment-unfound", text);
  } else if (depth !== undefined) {
    checks.ok("depth", `every assignment has at most ${counted(depth, "component")}`);
  }
  if (wrong.length > 0) checks.found("assignments", "record-wrong", named(wrong));
  if (podless.length > 0) checks.found("Pods", "pod-missing", `a Pod has no record: ${named(podless)}`);
  return checks.list;
}

const podsIn = ({ pod, move }: AssignmentRecord): readonly string[] => (move === undefined ? [pod] : [pod, move.to]);

const podsOf = ({ pods = [], default: other }: DirectoryRecord): readonly string[] =>
  other === undefined || pods.includes(other) ? pods : [...pods, other];

function named(all: readonly string[]): string {
  const more = all.length > maxNamed ? ` and ${all.length - maxNamed} more` : "";
  return all.slice(0, maxNamed).join(", ") + more;
}
