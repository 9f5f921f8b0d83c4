import * as v from "valibot";
import type { Digest } from "../oci/digest.ts";
import type { Prefix } from "../oci/repository-name.ts";
import type { AssignmentsView } from "./assignments.ts";
import { blockKey, cellKey, directoryKey, podKey, routeKey, routePrefix, tokenKeyKey } from "./keys.ts";
import type { PodId } from "./pod-id.ts";
import { podFields } from "./records.ts";

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
  readonly assignments: AssignmentsView;
  readonly blocks: ReadonlyMap<Prefix | Digest, string>;
  readonly default?: PodId | undefined;
  readonly credentials: "own" | "shared";
};

/** The records that a topology asks for, by KV key. Revision and time are left to the write. All routes of a Pod are one object. */
export type WantedRecords = {
  readonly size: number;
  readonly get: (key: string) => object | undefined;
  readonly all: () => Iterable<readonly [key: string, record: object]>;
};

/** Routes are looked up in the topology itself: a million of them are not held a second time. */
export function wantedRecords(topology: Topology): WantedRecords {
  const others = new Map(otherRecords(topology));
  const routes = new Map([...topology.pods.keys()].map((id) => [id, { pod: id, state: "active" }]));
  const routeOf = (id: PodId | undefined): object | undefined => (id === undefined ? undefined : routes.get(id));
  return {
    size: others.size + topology.assignments.size,
    get: (key) =>
      key.startsWith(routePrefix)
        ? routeOf(topology.assignments.get(key.slice(routePrefix.length) as Prefix))
        : others.get(key),
    *all() {
      yield* others;
      for (const [prefix, id] of topology.assignments) yield [routeKey(prefix), routeOf(id) ?? {}];
    },
  };
}

/** All of {@link wantedRecords}. */
export const topologyRecords = (topology: Topology): Iterable<readonly [key: string, record: object]> =>
  wantedRecords(topology).all();

function* otherRecords(topology: Topology): Generator<[key: string, record: object]> {
  for (const [id, { cells, ...pod }] of topology.pods) {
    yield [podKey(id), pod];
    for (const key of pod.keys) yield [tokenKeyKey(key.kid), { pod: id }];
    for (const cell of cells) yield [cellKey(cell), { pod: id }];
  }
  for (const [blocked, text] of topology.blocks) yield [blockKey(blocked), { text }];
  const { default: defaultPod, credentials } = topology;
  yield [directoryKey, { pods: [...topology.pods.keys()], default: defaultPod, credentials }];
}
