/** Checks that the edge finds every assignment. The edge looks up only prefixes of at most `depth` components, so it misses a longer prefix. */
import type { Directory } from "../../directory/directory.ts";
import { nameIn, routePrefix } from "../../directory/keys.ts";
import { componentsOf, type Prefix } from "../../oci/repository-name.ts";
import { isWithin } from "../../topology/record-text.ts";
import { counted } from "../output.ts";
import type { KvStore } from "../target/kv-store.ts";
import { type Check, Checks } from "./findings.ts";

const maxNamed = 5;

export async function checkDepth(directory: Directory, kv: Pick<KvStore, "list">): Promise<readonly Check[]> {
  const checks = new Checks("edge");
  const record = await directory.record();
  // `checkDeployment` reports a record that does not parse. If the record has no depth, the edge looks up prefixes of any length and finds them all.
  if (!record.ok || record.value.depth === undefined) return [];
  const { depth } = record.value;
  const deeper: string[] = [];
  for await (const page of kv.list(routePrefix)) {
    const prefixes = page.map(({ key }) => nameIn(key));
    deeper.push(...prefixes.filter((prefix) => !isWithin(componentsOf(prefix as Prefix), { depth })));
  }
  if (deeper.length === 0) checks.ok("depth", `every assignment has at most ${counted(depth, "component")}`);
  else {
    const more = deeper.length > maxNamed ? ` and ${deeper.length - maxNamed} more` : "";
    const named = deeper.slice(0, maxNamed).join(", ") + more;
    checks.found("depth", "assignment-unfound", `deeper than the directory's depth of ${depth}: ${named}`);
  }
  return checks.list;
}
