import * as v from "valibot";
import { groupSettings } from "../directory/group-settings.ts";
import {
  blocksKey,
  cellKey,
  directoryKey,
  nameIn,
  podKey,
  routeKey,
  routePrefix,
  tokenKeyKey,
} from "../directory/keys.ts";
import type { PodId } from "../directory/pod-id.ts";
import { podFields } from "../directory/records.ts";
import type { PlainHttp } from "../lib/address.ts";
import type { Digest } from "../oci/digest.ts";
import { componentsOf, type Prefix, type RepositoryName } from "../oci/repository-name.ts";
import { cloudPaths } from "./cloud-formats.ts";
import type { GroupSettings } from "./settings.ts";

const pod = v.strictObject({
  state: v.optional(v.picklist(["active", "read-only", "down"]), "active"),
  reason: v.optional(v.string()),
  /** The ids (base36) of this Pod's GitLab cells. Routable tokens of these cells belong to this Pod. */
  cells: v.optional(v.array(v.pipe(v.string(), v.regex(/^[0-9a-z]{1,13}$/))), []),
  ...podFields,
});

/** An assignment with settings of its group. Without settings, it is only the Pod's id. */
export const assignmentInFile = v.strictObject({
  pod: v.string(),
  state: v.optional(v.picklist(["active", "read-only"]), "active"),
  reason: v.optional(v.string()),
  ...groupSettings,
});

/** `topology.yaml`: the infra team's own file, from which podctl makes the directory. */
export const topologySchema = v.strictObject({
  pods: v.record(v.string(), pod),
  assignments: v.optional(v.record(v.string(), v.union([v.string(), assignmentInFile])), {}),
  /**
   * The path of the line file, relative to this file. The line file is for very many assignments, because YAML is slow with them. Each of its lines
   * is `prefix<TAB>pod`.
   */
  assignmentsFile: v.optional(v.pipe(v.string(), v.nonEmpty())),
  /** The clouds' files of address ranges, for conditions that name a cloud. */
  clouds: v.optional(cloudPaths, {}),
  default: v.optional(v.string()),
  credentials: v.optional(v.picklist(["own", "shared"]), "own"),
  /** The new names of renamed repositories, by their old names. */
  aliases: v.optional(v.record(v.string(), v.string()), {}),
  blocks: v.optional(v.record(v.string(), v.string()), {}),
  /**
   * The edge's host name, for deployments whose wrangler.toml has no route that says it. Blobs may not be at this host or at one below it: some
   * clients would send their token to such a host.
   */
  edge: v.optional(v.pipe(v.string(), v.nonEmpty())),
});

/** The rules of one deployment. Its topology is checked against them. */
export type Rules = {
  /** The Worker's variable AUTH. With `none`, clients of the fleet need no tokens. */
  readonly auth: "token" | "none";
  /** Which Pods and stores may be reached without TLS. */
  readonly plainHttp: PlainHttp;
  /** Host names of the edge. On the local stack, also the host name with the edge's port, because the Pods have other ports of the same host. */
  readonly edgeHosts: readonly string[];
  /** The Worker's variable REALM. Null if it is empty: clients then get their tokens at the edge's own hosts. */
  readonly realm: string | null;
  /** Whether a secret in the file must be sealed for exactly the place where it is. */
  readonly seals: "checked" | "unchecked";
};

/** With at most this many Pods, an isolate of the Worker remembers all Pod records. The directory record, which lists all Pods, also stays small. */
export const maxPods = 500;
/**
 * The limit for all CIDRs in the stores of Pods and the client rules of groups together. An isolate of the Worker keeps every CIDR in memory, at 130
 * bytes each.
 */
export const maxCidrs = 30_000;

export type TopologyPod = v.InferOutput<typeof pod>;

/** A topology with every name parsed. After `loadTopology`, `assignments` also has those of the file `assignmentsFile`. */
export type Topology = {
  readonly pods: ReadonlyMap<PodId, TopologyPod>;
  readonly assignments: ReadonlyMap<Prefix, PodId>;
  /** The settings of each group that has any, by the group's prefix. `assignments` has each of these prefixes, too. */
  readonly settings: ReadonlyMap<Prefix, GroupSettings>;
  readonly blocks: ReadonlyMap<Prefix | Digest, string>;
  readonly aliases: ReadonlyMap<RepositoryName, RepositoryName>;
  readonly default?: PodId | undefined;
  readonly credentials: "own" | "shared";
};

/** The revision and the time are added when the records are written. */
export function* topologyRecords(topology: Topology): Generator<Entry> {
  yield* otherRecords(topology);
  const routeOf = createRouteOf(topology);
  for (const prefix of topology.assignments.keys()) yield [routeKey(prefix), routeOf(prefix) ?? {}];
}

type WantedRecords = {
  readonly size: number;
  /** Null if the topology asks for no such record. */
  readonly get: (key: string) => object | null;
};

/** Looks up assignments in the topology itself, because it takes seconds to build a second map of a million keys. */
export function wantedRecords(topology: Topology): WantedRecords {
  const others = new Map(otherRecords(topology));
  const routeOf = createRouteOf(topology);
  return {
    size: others.size + topology.assignments.size,
    get: (key) => {
      const isRoute = key.startsWith(routePrefix);
      return (isRoute ? routeOf(nameIn(key) as Prefix) : others.get(key)) ?? null;
    },
  };
}

type Entry = readonly [key: string, record: object];

/** A Pod's assignments without settings share one record. */
function createRouteOf({ pods, assignments, settings }: Topology): (prefix: Prefix) => object | undefined {
  const plain = new Map([...pods.keys()].map((id) => [id, { pod: id, state: "active" }]));
  const own = new Map([...settings].map(([prefix, group]) => [prefix, { pod: assignments.get(prefix), ...group }]));
  return (prefix) => {
    const id = assignments.get(prefix);
    return id === undefined ? undefined : (own.get(prefix) ?? plain.get(id));
  };
}

/**
 * Returns how many components the longest prefix has. The edge reads only assignments of prefixes up to this length. Without prefixes, the result is
 * 1, so that the edge still finds a group (one component) that someone assigns by hand in KV.
 */
const depthOf = (prefixes: Iterable<Prefix>): number => {
  let depth = 1;
  for (const prefix of prefixes) depth = Math.max(depth, componentsOf(prefix));
  return depth;
};

function sharedRegistriesOf(pods: Topology["pods"]): { readonly sharedRegistries?: readonly (readonly PodId[])[] } {
  const byRegistry = Map.groupBy(pods.keys(), (id) => pods.get(id)?.registry);
  const shared = [...byRegistry.values()].filter((ids) => ids.length > 1);
  return shared.length === 0 ? {} : { sharedRegistries: shared };
}

function* otherRecords(topology: Topology): Generator<Entry> {
  const { pods, assignments, blocks, aliases, default: defaultPod, credentials } = topology;
  for (const [id, { cells, ...pod }] of pods) {
    yield [podKey(id), pod];
    for (const key of pod.keys) yield [tokenKeyKey(key.kid), { pod: id }];
    for (const cell of cells) yield [cellKey(cell), { pod: id }];
  }
  if (blocks.size > 0) yield [blocksKey, { blocks: Object.fromEntries(blocks) }];
  yield [
    directoryKey,
    {
      pods: [...pods.keys()],
      default: defaultPod,
      credentials,
      ...(aliases.size === 0 ? {} : { aliases: Object.fromEntries(aliases) }),
      ...sharedRegistriesOf(pods),
      depth: depthOf(assignments.keys()),
    },
  ];
}
