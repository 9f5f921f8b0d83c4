/** Decides where a request goes, by the Worker's own `handle()`. The directory is held in memory, because every line of a log needs look-ups. */
import { renamed } from "../../directory/aliases.ts";
import type { Client } from "../../directory/clients.ts";
import { createDirectory, type Directory } from "../../directory/directory.ts";
import { directoryKey, kindOf } from "../../directory/keys.ts";
import { freshValues } from "../../directory/kv.ts";
import { resolvePod } from "../../directory/resolve.ts";
import { createIsolate } from "../../isolate.ts";
import { ok } from "../../lib/result.ts";
import { recordText } from "../../topology/record-text.ts";
import { type Topology, topologyRecords } from "../../topology/topology.ts";
import { type Recorded, requestFrom, runHandle } from "../explain/recording.ts";
import type { Target } from "../target/target.ts";
import type { Subject } from "./log-line.ts";

export type Texts = Map<string, string>;

/** Whether this record is needed to resolve a name. */
const isOfUse = (key: string): boolean => ["route", "blocks", "pod", "directory"].includes(kindOf(key) ?? "");

/** Adds one record. The assignments of one Pod share one text, so a million assignments need a million keys but few texts. */
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

/** Returns a function that says in a word or two where a request would go: a Pod, no Pod, or what stops the request. */
export function createDecide(
  texts: Texts,
  { plainHttp }: Pick<Target, "plainHttp">,
): (subject: Subject, client: Client) => Promise<string> {
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
    // With `auth: "none"`, a request passes as if its token allowed it. With status 404, no Pod seems to have a mount's blob, so the last call of
    // `handle()` goes to the Pod of the request.
    const assumed = { directory, auth: "none", service: "", podStatus: 404, now: new Date(0) } as const;
    const recorded = await runHandle(request, assumed);
    return wordsFor(recorded) + (recorded.calls.length === 0 ? "" : await wayOf(subject, directory));
  };
}

/**
 * Returns words to add after the Pod. If the repository was renamed, they give its new name. Otherwise, they say how the blob's bytes travel, if the
 * group has a setting for this.
 */
async function wayOf({ name, method, path }: Subject, directory: Directory): Promise<string> {
  const record = directory.parsedRecords.directory.get(directoryKey)?.record ?? null;
  const alias = renamed(record, name);
  if (alias !== null) return `, as ${alias.to}`;
  // Most lines of a log are not about a blob. To save time, we make no look-up for them.
  if (!path.includes("/blobs/")) return "";
  const resolution = await resolvePod(directory, { name });
  const assignment = resolution.ok ? resolution.value.assignment : null;
  if (method === "POST" && assignment?.uploads === "edge") return ", on the edge";
  return method === "GET" && assignment?.delivery === "stream" ? ", through the Pod" : "";
}

function wordsFor({ answer, calls }: Recorded): string {
  const { outcome, cause, pod } = answer;
  // The last call goes to the Pod of the request. For a mount, an earlier call may have asked the Pod of the mount's source for the blob.
  const call = calls.at(-1);
  if (call !== undefined) return call.pod.id;
  if (outcome === "blocked") return "a block";
  if (pod !== undefined) return `${pod} (${cause})`;
  return outcome === "refused" ? "no Pod" : "an error";
}
