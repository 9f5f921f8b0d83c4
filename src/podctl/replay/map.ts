/** A directory in memory, for as many look-ups as a log has lines; answered by the Worker's own functions. */
import { createDirectory, type Directory } from "../../directory/directory.ts";
import { kindOf } from "../../directory/keys.ts";
import { resolvePod } from "../../directory/resolve.ts";
import { ok } from "../../lib/result.ts";
import { stateRefusal } from "../../pods/state.ts";
import { recordText } from "../../topology/record-text.ts";
import { type Topology, topologyRecords } from "../../topology/topology.ts";
import type { Target } from "../target/target.ts";
import type { Subject } from "./log-line.ts";

export type Texts = Map<string, string>;

/** What resolving a name needs of a directory. */
const isOfUse = (key: string): boolean => ["route", "block", "pod", "directory"].includes(kindOf(key) ?? "");

/** Routes of one Pod have one text: a million of them are a million keys, not texts. */
export function addRecord(texts: Texts, shared: Map<string, string>, key: string, text: string): void {
  if (!isOfUse(key)) return;
  const known = shared.get(text) ?? text;
  if (kindOf(key) === "route") shared.set(known, known);
  texts.set(key, known);
}

export function textsOf(topology: Topology): Texts {
  const [texts, shared]: [Texts, Map<string, string>] = [new Map(), new Map()];
  const stamp = { revision: 1, appliedAt: new Date(0) };
  for (const [key, record] of topologyRecords(topology)) addRecord(texts, shared, key, recordText(key, record, stamp));
  return texts;
}

/** Where a request would go, in a word or two: a Pod, none, or who stops it. */
export function createDecide(
  texts: Texts,
  { plainHttp }: Pick<Target, "plainHttp">,
): (subject: Subject) => Promise<string> {
  const directory: Directory = createDirectory(
    async (keys) => ok(new Map(keys.map((key) => [key, texts.get(key) ?? null]))),
    plainHttp,
  );
  return async ({ name, digest, method }) => {
    const resolution = await resolvePod(directory, name, digest);
    if (!resolution.ok) return "an error";
    const { pod, blocked } = resolution.value;
    if (blocked !== null) return "a block";
    if (pod === null) return "no Pod";
    const refused = stateRefusal(pod, method);
    return refused === null ? pod.id : `${pod.id} (${refused.reason})`;
  };
}
