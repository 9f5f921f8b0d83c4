/** Parses the plain values of a topology: names must fit their grammar, and each Pod that is named must be in the file. Pure. */
import * as v from "valibot";
import { maxAliases } from "../directory/aliases.ts";
import { type PodId, parsePodId } from "../directory/pod-id.ts";
import { maxBlocks } from "../directory/records.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { type Digest, parseDigest } from "../oci/digest.ts";
import { type Prefix, parsePrefix, parseRepositoryName, type RepositoryName } from "../oci/repository-name.ts";
import { checkPod } from "./check-pod.ts";
import { checkShared } from "./check-shared.ts";
import { listsForMappings, type Mistake, mistakeOf, quote } from "./mistake.ts";
import { type GroupSettings, maxTextCharacters, settingsMistakes } from "./settings.ts";
import {
  assignmentInFile,
  maxCidrs,
  maxPods,
  type Rules,
  type Topology,
  type TopologyPod,
  topologySchema,
} from "./topology.ts";

/** A topology whose `assignmentsFile` is not read yet. `edgeHosts` also has the `edge` of the file. */
export type CheckedTopology = Topology & Pick<Rules, "edgeHosts"> & { readonly assignmentsFile: string | undefined };

export function checkTopology(input: unknown, rules: Rules): Result<CheckedTopology, readonly Mistake[]> {
  const parsed = v.safeParse(topologySchema, input);
  if (!parsed.success) return err(unrepeated(parsed.issues.map(mistakeOf)));
  const { output } = parsed;
  const lists = [...listsForMappings(input, output)];
  if (lists.length > 0) return err(lists);
  const edgeHosts = [...rules.edgeHosts, ...(output.edge === undefined ? [] : [output.edge])];
  const mistakes: Mistake[] = [];
  // The names are read from the input, because valibot skips names like "constructor".
  const given = input as Readonly<Record<"pods" | "assignments" | "blocks" | "aliases", object | undefined>>;
  const pods = podsOf(Object.keys(given.pods ?? {}), output.pods, mistakes);
  for (const [id, pod] of pods) mistakes.push(...checkPod(id, pod, { ...rules, edgeHosts }));
  const { assignments, settings } = assignmentsOf(given.assignments ?? {}, { pods, edgeHosts }, mistakes);
  mistakes.push(...checkShared(pods), ...checkCidrs(pods, settings), ...checkEdge(output.edge));
  const blocks = blocksOf(given.blocks ?? {}, edgeHosts, mistakes);
  const aliases = aliasesOf(given.aliases ?? {}, edgeHosts, mistakes);
  const { default: defaultPod, credentials, assignmentsFile } = output;
  if (defaultPod !== undefined && !pods.has(defaultPod as PodId)) {
    mistakes.push({ path: ["default"], at: "value", text: unknownPod(defaultPod, pods) });
  }
  if (mistakes.length > 0) return err(mistakes);
  return ok({
    pods,
    assignments,
    settings,
    edgeHosts,
    assignmentsFile,
    blocks,
    aliases,
    default: defaultPod as PodId | undefined,
    credentials,
  });
}

function unrepeated(mistakes: readonly Mistake[]): readonly Mistake[] {
  const byPlace = new Map<string, Mistake>();
  for (const mistake of mistakes) {
    const place = JSON.stringify([mistake.path, mistake.at]);
    if (!byPlace.has(place)) byPlace.set(place, mistake);
  }
  return [...byPlace.values()];
}

export const unknownPod = (text: string, pods: ReadonlyMap<PodId, unknown>): string =>
  `${quote(text, [])} is not a Pod of this file; want one of ${[...pods.keys()].slice(0, 10).join(", ")}`;

function podsOf(
  ids: readonly string[],
  pods: Readonly<Record<string, TopologyPod>>,
  mistakes: Mistake[],
): ReadonlyMap<PodId, TopologyPod> {
  const parsed = new Map<PodId, TopologyPod>();
  for (const text of ids) {
    const id = parsePodId(text);
    const pod = Object.hasOwn(pods, text) ? pods[text] : undefined;
    if (id.ok && pod !== undefined) parsed.set(id.value, pod);
    else
      mistakes.push({ path: ["pods", text], at: "name", text: id.ok ? "is reserved; want another Pod id" : id.error });
  }
  const wrong = (text: string) => mistakes.push({ path: ["pods"], at: "name", text });
  if (ids.length === 0) wrong("is empty; want at least one Pod");
  if (ids.length > maxPods) wrong(`has ${ids.length} Pods; want at most ${maxPods}`);
  return parsed;
}

function checkCidrs(pods: ReadonlyMap<PodId, TopologyPod>, settings: Topology["settings"]): readonly Mistake[] {
  const conditions = [
    ...[...pods.values()].flatMap(({ blobs }) => blobs.stores.map(({ when }) => when)),
    ...[...settings.values()].flatMap(({ clients }) => [...(clients?.allow ?? []), ...(clients?.deny ?? [])]),
  ];
  const cidrs = conditions.reduce((sum, when) => sum + (when?.cidrs?.length ?? 0), 0);
  if (cidrs <= maxCidrs) return [];
  const text = `have ${cidrs} CIDRs in their stores and groups; want at most ${maxCidrs}, so name regions instead of whole clouds`;
  return [{ path: ["pods"], at: "name", text }];
}

function checkEdge(edge: string | undefined): readonly Mistake[] {
  if (edge === undefined || URL.parse(`https://${edge}`)?.hostname === edge) return [];
  return [
    { path: ["edge"], at: "value", text: `${quote(edge, [])} is not a host name; want one without scheme and port` },
  ];
}

function assignmentsOf(
  input: object,
  { pods, edgeHosts }: { readonly pods: ReadonlyMap<PodId, unknown>; readonly edgeHosts: readonly string[] },
  mistakes: Mistake[],
): Pick<Topology, "assignments" | "settings"> {
  const assignments = new Map<Prefix, PodId>();
  const settings = new Map<Prefix, GroupSettings>();
  for (const [text, given] of Object.entries(input) as [string, unknown][]) {
    const path = ["assignments", text];
    const prefix = refuseHost(parsePrefix(text), edgeHosts);
    if (!prefix.ok) mistakes.push({ path, at: "name", text: prefix.error });
    else if (typeof given === "string") {
      if (pods.has(given as PodId)) assignments.set(prefix.value, given as PodId);
      else mistakes.push({ path, at: "value", text: unknownPod(given, pods) });
    } else {
      const own = withSettings(given, pods);
      if (own.ok) {
        assignments.set(prefix.value, own.value.pod);
        settings.set(prefix.value, own.value.settings);
      } else mistakes.push(...own.error.map((mistake) => ({ ...mistake, path: [...path, ...mistake.path] })));
    }
  }
  return { assignments, settings };
}

type WithSettings = { readonly pod: PodId; readonly settings: GroupSettings };

function withSettings(input: unknown, pods: ReadonlyMap<PodId, unknown>): Result<WithSettings, readonly Mistake[]> {
  const parsed = v.safeParse(assignmentInFile, input);
  if (!parsed.success) return err(parsed.issues.map(mistakeOf));
  const { pod, ...settings } = parsed.output;
  const mistakes = [...settingsMistakes(settings)];
  if (!pods.has(pod as PodId)) mistakes.push({ path: ["pod"], at: "value", text: unknownPod(pod, pods) });
  return mistakes.length > 0 ? err(mistakes) : ok({ pod: pod as PodId, settings });
}

function blocksOf(
  input: object,
  edgeHosts: readonly string[],
  mistakes: Mistake[],
): ReadonlyMap<Prefix | Digest, string> {
  const blocks = new Map<Prefix | Digest, string>();
  const count = Object.keys(input).length;
  if (count > maxBlocks) {
    mistakes.push({ path: ["blocks"], at: "name", text: `has ${count} entries; want at most ${maxBlocks}` });
    return blocks;
  }
  for (const [text, why] of Object.entries(input) as [string, unknown][]) {
    const path = ["blocks", text];
    const blocked = refuseHost(parseBlocked(text), edgeHosts);
    if (!blocked.ok) mistakes.push({ path, at: "name", text: blocked.error });
    else if (typeof why !== "string" || why.length > maxTextCharacters) {
      mistakes.push({ path, at: "value", text: `is not a text of at most ${maxTextCharacters} characters` });
    } else blocks.set(blocked.value, why);
  }
  return blocks;
}

function aliasesOf(input: object, edgeHosts: readonly string[], mistakes: Mistake[]): Topology["aliases"] {
  const entries = Object.entries(input) as [string, unknown][];
  const aliases = new Map<RepositoryName, RepositoryName>();
  const wrong = (name: string, at: Mistake["at"], text: string) => mistakes.push({ path: ["aliases", name], at, text });
  if (entries.length > maxAliases) {
    mistakes.push({ path: ["aliases"], at: "name", text: `has ${entries.length} names; want at most ${maxAliases}` });
    return aliases;
  }
  const nameOf = (text: string) => refuseHost(parseRepositoryName(text), edgeHosts);
  for (const [text, given] of entries) {
    const from = nameOf(text);
    const to = typeof given === "string" ? nameOf(given) : err("is not a text; want a repository name");
    if (!from.ok) wrong(text, "name", from.error);
    else if (!to.ok) wrong(text, "value", to.error);
    else if (Object.hasOwn(input, to.value)) {
      wrong(text, "value", `${quote(to.value, [])} is an old name itself; want the name that the Pod has`);
    } else aliases.set(from.value, to.value);
  }
  return aliases;
}

export function parseBlocked(text: string): Result<Prefix | Digest, string> {
  if (!text.includes(":")) return parsePrefix(text);
  const digest = parseWrittenDigest(text);
  const wanted = "want acme/app without a tag, or sha256: and 64 lower-case hex digits";
  return digest.ok ? digest : err(`${quote(text, [])} is neither a prefix nor a digest; ${wanted}`);
}

/**
 * Parses a digest that an operator has written. A digest may have any algorithm, so `hello:1`, an image with its tag, would be one too: its block
 * would block nothing, and no log line would name it.
 */
export function parseWrittenDigest(text: string): Result<Digest, string> {
  const isKnown = /^sha(256|512):/.test(text);
  return isKnown
    ? parseDigest(text)
    : err(`${quote(text, [])} is not a digest; want sha256: and 64 lower-case hex digits`);
}

/**
 * Refuses a name that begins with the edge's host name. Docker prints the names of images in this way, but in a request the host name is no part of
 * the name. So a block of such a name would block nothing.
 */
export function refuseHost<T extends string>(name: Result<T, string>, edgeHosts: readonly string[]): Result<T, string> {
  const host = name.ok ? edgeHosts.find((each) => name.value === each || name.value.startsWith(`${each}/`)) : undefined;
  if (!name.ok || host === undefined) return name;
  const right = name.value.slice(host.length + 1);
  const wanted = right === "" ? "a repository's name or its first components" : `"${right}"`;
  return err(`"${name.value}" begins with the edge's own host name; want ${wanted}`);
}
