import * as v from "valibot";
import { blockKey, cellKey, directoryKey, podKey, routeKey, routePrefix, tokenKeyKey } from "../directory/keys.ts";
import type { PodId } from "../directory/pod-id.ts";
import { podFields } from "../directory/records.ts";
import type { Digest } from "../oci/digest.ts";
import type { Prefix } from "../oci/repository-name.ts";
import type { Assignments } from "./assignments.ts";

const pod = v.strictObject({
  state: v.optional(v.picklist(["active", "read-only", "down"]), "active"),
  reason: v.optional(v.string()),
  /** Cell ids (base36) whose routable tokens are this Pod's. */
  cells: v.optional(v.array(v.pipe(v.string(), v.regex(/^[0-9a-z]{1,13}$/))), []),
  ...podFields,
});

/** `topology.yaml`: the infra team's own file, from which the directory is made. */
export const topologySchema = v.strictObject({
  pods: v.record(v.string(), pod),
  assignments: v.optional(v.record(v.string(), v.string()), {}),
  /** A file beside this one with a line `prefix<TAB>pod` for each assignment: for more than YAML is good for. */
  assignmentsFile: v.optional(v.pipe(v.string(), v.nonEmpty())),
  default: v.optional(v.string()),
  credentials: v.optional(v.picklist(["own", "shared"]), "own"),
  blocks: v.optional(v.record(v.string(), v.string()), {}),
  /** The edge's host name, for a check of the blob hosts, where wrangler.toml names no route. */
  edge: v.optional(v.pipe(v.string(), v.nonEmpty())),
});

export type TopologyPod = v.InferOutput<typeof pod>;

/** A topology whose every name is parsed, with the assignments of its line file. */
export type Topology = {
  readonly pods: ReadonlyMap<PodId, TopologyPod>;
  readonly assignments: Assignments;
  readonly blocks: ReadonlyMap<Prefix | Digest, string>;
  readonly default?: PodId | undefined;
  readonly credentials: "own" | "shared";
};

type Entry = readonly [key: string, record: object];

/** The records that a topology asks for, ticked off as they are found in KV. Revision and time are left to the write. */
export type WantedRecords = {
  readonly size: number;
  /** The record of each key, as often as it is asked for; undefined where none is wanted. */
  readonly take: (keys: readonly string[]) => readonly (object | undefined)[];
  /** Those that nobody took. */
  readonly rest: () => Iterable<Entry>;
};

/** Routes are looked up in the topology itself: a million of them are not held a second time. */
export function wantedRecords(topology: Topology): WantedRecords {
  const others = new Map(otherRecords(topology));
  const taken = new Set<string>();
  const assignments = topology.assignments.checklist();
  const routeOf = routesOf(topology);
  return {
    size: others.size + topology.assignments.size,
    take(keys) {
      const isRoute = (key: string) => key.startsWith(routePrefix);
      const ids = assignments.take(keys.filter(isRoute).map((key) => key.slice(routePrefix.length))).values();
      return keys.map((key) => {
        if (isRoute(key)) return routeOf(ids.next().value);
        taken.add(key);
        return others.get(key);
      });
    },
    *rest() {
      for (const entry of others) if (!taken.has(entry[0])) yield entry;
      for (const [prefix, id] of assignments.rest()) yield [routeKey(prefix), routeOf(id) ?? {}];
    },
  };
}

/** Every record that a topology asks for. */
export function* topologyRecords(topology: Topology): Generator<Entry> {
  const routeOf = routesOf(topology);
  yield* otherRecords(topology);
  for (const [prefix, id] of topology.assignments) yield [routeKey(prefix), routeOf(id) ?? {}];
}

/** All routes of a Pod are one object. */
function routesOf({ pods }: Topology): (id: PodId | undefined) => object | undefined {
  const routes = new Map([...pods.keys()].map((id) => [id, { pod: id, state: "active" }]));
  return (id) => (id === undefined ? undefined : routes.get(id));
}

function* otherRecords(topology: Topology): Generator<Entry> {
  for (const [id, { cells, ...pod }] of topology.pods) {
    yield [podKey(id), pod];
    for (const key of pod.keys) yield [tokenKeyKey(key.kid), { pod: id }];
    for (const cell of cells) yield [cellKey(cell), { pod: id }];
  }
  for (const [blocked, text] of topology.blocks) yield [blockKey(blocked), { text }];
  const { default: defaultPod, credentials } = topology;
  yield [directoryKey, { pods: [...topology.pods.keys()], default: defaultPod, credentials }];
}
