import * as v from "valibot";
import { err, ok, type Result } from "../lib/result.ts";
import { type Digest, parseDigest } from "../oci/digest.ts";
import { type Prefix, parsePrefix } from "../oci/repository-name.ts";
import { blockKey, cellKey, directoryKey, podKey, routeKey, tokenKeyKey } from "./keys.ts";
import { parsePodId } from "./pod-id.ts";
import { podFields } from "./records.ts";
import { storeMistakes } from "./stores.ts";

/** `topology.yaml`, parsed: the infra team's own file, from which the directory is made. */
const topology = v.strictObject({
  pods: v.record(
    v.string(),
    v.strictObject({
      state: v.optional(v.picklist(["active", "read-only", "down"]), "active"),
      reason: v.optional(v.string()),
      /** Cell ids (base36) whose routable tokens are this Pod's. */
      cells: v.optional(v.array(v.pipe(v.string(), v.regex(/^[0-9a-z]{1,13}$/))), []),
      ...podFields,
    }),
  ),
  assignments: v.optional(v.record(v.string(), v.string()), {}),
  default: v.optional(v.string()),
  credentials: v.optional(v.picklist(["own", "shared"]), "own"),
  blocks: v.optional(v.record(v.string(), v.string()), {}),
});
type Topology = v.InferOutput<typeof topology>;

/** The KV entries, key to JSON text, that a topology asks for; else every mistake found in it. */
export function topologyEntries(input: unknown, now: Date): Result<ReadonlyMap<string, string>, readonly string[]> {
  const parsed = v.safeParse(topology, input);
  if (!parsed.success) {
    return err(parsed.issues.map((issue) => `${v.getDotPath(issue) ?? "topology"}: ${issue.message}`));
  }
  const mistakes = findMistakes(parsed.output);
  if (mistakes.length > 0) return err(mistakes);
  return ok(
    new Map([...entriesOf(parsed.output, now)].map(([key, record]) => [key, JSON.stringify({ v: 1, ...record })])),
  );
}

function* entriesOf(wanted: Topology, now: Date): Generator<[string, object]> {
  for (const [id, { cells, ...pod }] of Object.entries(wanted.pods)) {
    const podId = parsePodId(id);
    if (!podId.ok) continue;
    yield [podKey(podId.value), { revision: 1, ...pod }];
    for (const key of pod.keys) yield [tokenKeyKey(key.kid), { pod: id }];
    for (const cell of cells) yield [cellKey(cell), { pod: id }];
  }
  for (const [text, pod] of Object.entries(wanted.assignments)) {
    const prefix = parsePrefix(text);
    if (prefix.ok) yield [routeKey(prefix.value), { pod, revision: 1, state: "active" }];
  }
  for (const [text, why] of Object.entries(wanted.blocks)) {
    const blocked = parseBlocked(text);
    if (blocked.ok) yield [blockKey(blocked.value), { text: why }];
  }
  const { default: defaultPod, credentials } = wanted;
  const pods = Object.keys(wanted.pods);
  yield [directoryKey, { pods, default: defaultPod, credentials, revision: 1, appliedAt: now.toISOString() }];
}

function findMistakes(wanted: Topology): readonly string[] {
  const ids = Object.keys(wanted.pods);
  const unknownPod = (at: string, pod: string) =>
    ids.includes(pod) ? [] : [`${at}: "${pod}" is no Pod of this file; want one of ${ids.join(", ")}`];
  const kids = Object.values(wanted.pods).flatMap((pod) => pod.keys.map((key) => key.kid));
  const cells = Object.values(wanted.pods).flatMap((pod) => pod.cells);
  return [
    ...ids.flatMap((id) => errorOf(`pods.${id}`, parsePodId(id))),
    ...Object.entries(wanted.pods).flatMap(([id, { blobs }]) =>
      storeMistakes(blobs.stores).map((mistake) => `pods.${id}.blobs.${mistake}`),
    ),
    ...Object.keys(wanted.assignments).flatMap((text) => errorOf(`assignments."${text}"`, parsePrefix(text))),
    ...Object.keys(wanted.blocks).flatMap((text) => errorOf(`blocks."${text}"`, parseBlocked(text))),
    ...Object.entries(wanted.assignments).flatMap(([prefix, pod]) => unknownPod(`assignments.${prefix}`, pod)),
    ...(wanted.default === undefined ? [] : unknownPod("default", wanted.default)),
    ...repeated(kids).map((kid) => `keys: kid "${kid}" stands in two places; Pods share no key`),
    ...repeated(cells).map((cell) => `cells: "${cell}" stands in two places; a cell is one Pod's`),
  ];
}

const parseBlocked = (text: string): Result<Prefix | Digest, string> =>
  text.includes(":") ? parseDigest(text) : parsePrefix(text);

const repeated = (texts: readonly string[]): readonly string[] =>
  texts.filter((text, index) => texts.indexOf(text) !== index);

const errorOf = <T>(at: string, result: Result<T, string>): readonly string[] =>
  result.ok ? [] : [`${at}: ${result.error}`];
