import { directoryKey, routeKey } from "../../directory/keys.ts";
import type { PodId } from "../../directory/pod-id.ts";
import { type AssignmentRecord, assignmentRecord, parseRecord } from "../../directory/records.ts";
import { componentsOf, type Prefix } from "../../oci/repository-name.ts";
import { CliFailure } from "../failure.ts";
import type { KvStore } from "../target/kv-store.ts";
import { directoryInKv, orDamaged } from "../write/live-directory.ts";

/** A group's assignment as it is in KV. `record` is null if the group has no assignment of its own, and so belongs to the default Pod. */
export type LiveAssignment = { readonly record: AssignmentRecord | null; readonly pod: PodId };

/** Throws a CliFailure if the group has no Pod. */
export async function readAssignment(kv: KvStore, prefix: Prefix): Promise<LiveAssignment> {
  const key = routeKey(prefix);
  const read = await kv.read([directoryKey, key]);
  const text = read.get(key) ?? null;
  if (text !== null) {
    const record = orDamaged(parseRecord(key, text, assignmentRecord));
    return { record, pod: record.pod };
  }
  const { record: directory } = directoryInKv(read.get(directoryKey) ?? null);
  if (directory?.default === undefined || componentsOf(prefix) > 1) {
    throw new CliFailure(
      `"${prefix}" is not assigned; \`podctl assign\` assigns a prefix, and a move needs one that is`,
    );
  }
  return { record: null, pod: directory.default };
}
