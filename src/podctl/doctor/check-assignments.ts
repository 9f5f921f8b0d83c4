/** Checks that the edge finds every assignment and can read it. */
import type { Directory } from "../../directory/directory.ts";
import { nameIn, routePrefix } from "../../directory/keys.ts";
import { assignmentRecord, parseRecord } from "../../directory/records.ts";
import { componentsOf, type Prefix } from "../../oci/repository-name.ts";
import { isWithin } from "../../topology/record-text.ts";
import { counted } from "../output.ts";
import type { KvStore } from "../target/kv-store.ts";
import { readLive } from "../write/live-directory.ts";
import { type Check, Checks } from "./findings.ts";

const maxNamed = 5;

export async function checkAssignments(
  directory: Directory,
  kv: Pick<KvStore, "list" | "read">,
): Promise<readonly Check[]> {
  const checks = new Checks("edge");
  const record = await directory.record();
  // `checkDeployment` reports a directory record that does not parse. Without a depth, the edge looks up prefixes of any length and finds them all.
  const depth = record.ok ? record.value.depth : undefined;
  const deeper: string[] = [];
  const wrong: string[] = [];
  for await (const page of readLive(kv, routePrefix)) {
    for (const { key, text } of page) {
      const parsed = parseRecord(key, text, assignmentRecord);
      if (!parsed.ok) wrong.push(parsed.error);
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
  return checks.list;
}

function named(all: readonly string[]): string {
  const more = all.length > maxNamed ? ` and ${all.length - maxNamed} more` : "";
  return all.slice(0, maxNamed).join(", ") + more;
}
