/** Decides where a request goes, by the Worker's own `handle()`. The directory is held in memory, because every line of a log needs look-ups. */
import { createDirectory, type Directory } from "../../directory/directory.ts";
import { kindOf } from "../../directory/keys.ts";
import { freshValues } from "../../directory/kv.ts";
import { type Resolution, resolvePod } from "../../directory/resolve.ts";
import { createIsolate } from "../../isolate.ts";
import { ok } from "../../lib/result.ts";
import { recordText } from "../../topology/record-text.ts";
import { type Topology, topologyRecords } from "../../topology/topology.ts";
import { type Recorded, requestFrom, runHandle } from "../explain/recording.ts";
import type { Target } from "../target/target.ts";
import type { Decide } from "./comparison.ts";
import type { Subject } from "./log-line.ts";

export type Texts = Map<string, string>;

const isNeededToResolve = (key: string): boolean => ["route", "blocks", "pod", "directory"].includes(kindOf(key) ?? "");

/** Collects the texts of records. The assignments of one Pod share one text, so a million assignments need a million keys but few texts. */
export function collectTexts() {
  const texts: Texts = new Map();
  const shared = new Map<string, string>();
  const add = (key: string, text: string): void => {
    if (!isNeededToResolve(key)) return;
    const known = shared.get(text) ?? text;
    if (kindOf(key) === "route") shared.set(known, known);
    texts.set(key, known);
  };
  return { texts, add };
}

export function textsOf(topology: Topology): Texts {
  const { texts, add } = collectTexts();
  const stamp = { revision: 1, appliedAt: new Date(0) };
  for (const [key, record] of topologyRecords(topology)) add(key, recordText(key, record, stamp));
  return texts;
}

export function createDecide(texts: Texts, { plainHttp }: Pick<Target, "plainHttp">): Decide {
  const { parsedPods, parsedRecords } = createIsolate();
  const directory = createDirectory({
    readKv: async () => ok(freshValues(texts)),
    now: () => new Date(),
    plainHttp,
    parsedPods,
    parsedRecords,
  });
  return async (subject, client) => {
    const { method, path } = subject;
    const request = requestFrom(client, {
      method,
      url: new URL(path, "https://edge.invalid"),
      authorization: null,
    });
    // With `auth: "none"`, a request needs no token. With status 404, no Pod seems to have a blob, so no time is spent on signing.
    const assumed = { directory, auth: "none", service: "", podStatus: 404, now: new Date(0) } as const;
    const recorded = await runHandle(request, assumed);
    const [call] = recorded.calls;
    return call === undefined ? wordsFor(recorded) : placeOf(subject, directory, call.pod.id);
  };
}

/**
 * Returns the Pod that serves the name, even if `handle()` has called another Pod (`asked`), such as the other Pod of a move. Returns `asked` if no
 * Pod serves the name, as for a login.
 */
async function placeOf(subject: Subject, directory: Directory, asked: string): Promise<string> {
  const resolved = await resolvePod(directory, { name: subject.name });
  if (!resolved.ok) return "an error";
  return (resolved.value.pod?.id ?? asked) + wayOf(subject, resolved.value);
}

/** Returns the words after the Pod's id: a renamed repository's new name, or else the way that the group sets for a blob's bytes. */
function wayOf({ method, path }: Subject, { renamed, assignment }: Resolution): string {
  if (renamed !== null) return `, as ${renamed.to}`;
  if (!path.includes("/blobs/")) return "";
  if (method === "POST" && assignment?.uploads === "edge") return ", on the edge";
  return method === "GET" && assignment?.delivery === "stream" ? ", through the Pod" : "";
}

/** Says what stops a request for which no Pod is asked. */
function wordsFor({ answer: { outcome, cause, pod } }: Recorded): string {
  if (outcome === "blocked") return "a block";
  if (pod !== undefined) return `${pod} (${cause})`;
  return outcome === "refused" ? "no Pod" : "an error";
}
