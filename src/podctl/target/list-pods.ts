import { nameIn, podPrefix } from "../../directory/keys.ts";
import { CliFailure } from "../failure.ts";
import type { KvStore } from "./kv-store.ts";

/** Returns the ids of all Pods, in alphabetical order. */
export async function listPods(kv: KvStore): Promise<readonly string[]> {
  const ids: string[] = [];
  for await (const page of kv.list(podPrefix)) ids.push(...page.map(({ key }) => nameIn(key)));
  if (ids.length === 0) throw new CliFailure("the directory has no Pod; `podctl apply` writes the Pods of a topology");
  return ids;
}
