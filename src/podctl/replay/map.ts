/** A directory in memory, for as many look-ups as a log has lines; answered by the Worker's own functions. */
import { createDirectory, type Directory } from "../../directory/directory.ts";
import { kindOf } from "../../directory/keys.ts";
import { resolvePod } from "../../directory/resolve.ts";
import { BoundedMap } from "../../lib/collections.ts";
import { ok } from "../../lib/result.ts";
import { passGate } from "../../pods/gate.ts";
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
  const directory: Directory = createDirectory({
    readKv: async () => ok({ textOf: (key) => texts.get(key) ?? null, stale: null }),
    plainHttp,
    parsedPods: new BoundedMap(500),
  });
  return async ({ name, digest, method }) => {
    const resolution = await resolvePod(directory, { name, digest });
    if (!resolution.ok) return "an error";
    const { pod } = resolution.value;
    const admitted = passGate(method, resolution.value);
    if (admitted.ok) return admitted.value.id;
    if (admitted.error.reason === "blocked") return "a block";
    return pod === null ? "no Pod" : `${pod.id} (${admitted.error.reason})`;
  };
}
