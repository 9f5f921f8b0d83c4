/** A topology's plain values, parsed: every name by its grammar, every reference to what it names. Pure. */
import * as v from "valibot";
import { type PodId, parsePodId } from "../directory/pod-id.ts";
import { type Topology, type TopologyPod, topologySchema } from "../directory/topology.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { type Digest, parseDigest } from "../oci/digest.ts";
import { type Prefix, parsePrefix } from "../oci/repository-name.ts";
import { checkPod } from "./check-pod.ts";
import { mistakeOf } from "./issues.ts";
import { type Mistake, type Path, quote } from "./mistake.ts";
import { maxPods, maxTextCharacters, type Rules } from "./rules.ts";

export type CheckedTopology = Topology & {
  readonly assignments: Map<Prefix, PodId>;
  readonly assignmentsFile: string | undefined;
};

export function checkTopology(input: unknown, rules: Rules): Result<CheckedTopology, readonly Mistake[]> {
  const parsed = v.safeParse(topologySchema, input);
  if (!parsed.success) return err(parsed.issues.map(mistakeOf));
  const { output } = parsed;
  const edgeHosts = [...rules.edgeHosts, ...(output.edge === undefined ? [] : [output.edge])];
  const mistakes: Mistake[] = [];
  const pods = podsOf(output.pods, mistakes);
  for (const [id, pod] of pods) mistakes.push(...checkPod(id, pod, { ...rules, edgeHosts }));
  mistakes.push(...checkShared(pods), ...checkEdge(output.edge));
  // From the input, for valibot passes over names like "constructor".
  const { assignments, blocks } = input as { readonly assignments?: object; readonly blocks?: object };
  const parsedAssignments = assignmentsOf(assignments ?? {}, pods, mistakes);
  const parsedBlocks = blocksOf(blocks ?? {}, mistakes);
  const { default: defaultPod, credentials, assignmentsFile } = output;
  if (defaultPod !== undefined && !pods.has(defaultPod as PodId)) {
    mistakes.push({ path: ["default"], at: "value", text: unknownPod(defaultPod, pods) });
  }
  if (mistakes.length > 0) return err(mistakes);
  return ok({
    pods,
    assignments: parsedAssignments,
    assignmentsFile,
    blocks: parsedBlocks,
    default: defaultPod as PodId | undefined,
    credentials,
  });
}

export const unknownPod = (text: string, pods: ReadonlyMap<PodId, unknown>): string =>
  `${quote(text, [])} is no Pod of this file; want one of ${[...pods.keys()].slice(0, 10).join(", ")}`;

function podsOf(pods: Readonly<Record<string, TopologyPod>>, mistakes: Mistake[]): ReadonlyMap<PodId, TopologyPod> {
  const parsed = new Map<PodId, TopologyPod>();
  for (const [text, pod] of Object.entries(pods)) {
    const id = parsePodId(text);
    if (id.ok) parsed.set(id.value, pod);
    else mistakes.push({ path: ["pods", text], at: "name", text: id.error });
  }
  const wrong = (text: string) => mistakes.push({ path: ["pods"], at: "name", text });
  if (Object.keys(pods).length === 0) wrong("is empty; want at least one Pod");
  if (parsed.size > maxPods) wrong(`has ${parsed.size} Pods; want at most ${maxPods}`);
  return parsed;
}

/** What no two Pods may have in common. */
function* checkShared(pods: ReadonlyMap<PodId, TopologyPod>): Generator<Mistake> {
  const owners = new Map<string, string>();
  const claim = (what: string, value: string, id: string, path: Path): Mistake[] => {
    const owner = owners.get(`${what} ${value}`);
    if (owner === undefined) owners.set(`${what} ${value}`, id);
    if (owner === undefined) return [];
    const whose = owner === id ? "twice" : `also for Pod "${owner}"`;
    return [
      {
        path: ["pods", id, ...path],
        at: "value",
        text: `${what} ${quote(value, [])} stands here ${whose}; want it once`,
      },
    ];
  };
  for (const [id, pod] of pods) {
    yield* claim("registry", pod.registry, id, ["registry"]);
    for (const [index, { kid }] of pod.keys.entries()) yield* claim("kid", kid, id, ["keys", index, "kid"]);
    for (const [index, cell] of pod.cells.entries()) yield* claim("cell", cell, id, ["cells", index]);
  }
}

function checkEdge(edge: string | undefined): readonly Mistake[] {
  if (edge === undefined || (URL.canParse(`https://${edge}`) && new URL(`https://${edge}`).hostname === edge))
    return [];
  return [
    { path: ["edge"], at: "value", text: `${quote(edge, [])} is no host name; want one without scheme and port` },
  ];
}

function assignmentsOf(input: object, pods: ReadonlyMap<PodId, unknown>, mistakes: Mistake[]): Map<Prefix, PodId> {
  const assignments = new Map<Prefix, PodId>();
  for (const [text, pod] of Object.entries(input) as [string, unknown][]) {
    const path = ["assignments", text];
    const prefix = parsePrefix(text);
    if (!prefix.ok) mistakes.push({ path, at: "name", text: prefix.error });
    else if (typeof pod !== "string" || !pods.has(pod as PodId)) {
      mistakes.push({ path, at: "value", text: unknownPod(String(pod), pods) });
    } else assignments.set(prefix.value, pod as PodId);
  }
  return assignments;
}

function blocksOf(input: object, mistakes: Mistake[]): ReadonlyMap<Prefix | Digest, string> {
  const blocks = new Map<Prefix | Digest, string>();
  for (const [text, why] of Object.entries(input) as [string, unknown][]) {
    const path = ["blocks", text];
    const blocked = parseBlocked(text);
    if (!blocked.ok) mistakes.push({ path, at: "name", text: blocked.error });
    else if (typeof why !== "string" || why.length > maxTextCharacters) {
      mistakes.push({ path, at: "value", text: `is no text of at most ${maxTextCharacters} characters` });
    } else blocks.set(blocked.value, why);
  }
  return blocks;
}

export const parseBlocked = (text: string): Result<Prefix | Digest, string> =>
  text.includes(":") ? parseDigest(text) : parsePrefix(text);
