/** What it costs to find a name's Pod, with a hundred assignments in KV and with a million. */
import { resolvePod } from "../../src/directory/resolve.ts";
import { parseRepositoryName, type RepositoryName } from "../../src/oci/repository-name.ts";
import { loadTopology } from "../../src/topology/load.ts";
import { recordText } from "../../src/topology/record-text.ts";
import { type Topology, wantedRecords } from "../../src/topology/topology.ts";
import { startIsolate } from "../support/isolate.ts";
import { production } from "../support/topologies.ts";
import { writeBenchTopology } from "./assignments.ts";
import { type Finding, portable } from "./finding.ts";
import { median, medianRatio } from "./rounds.ts";
import { withTeardown } from "./stage.ts";

/** No two of an isolate's names share an assignment, because even the smallest directory has this many. So each name needs new keys. */
const namesOfIsolate = 100;
const warmUpRounds = 100;

type Options = { readonly sizes: readonly number[]; readonly rounds: number };

export const benchResolve = ({ sizes, rounds }: Options): Promise<readonly Finding[]> =>
  withTeardown(async (_, dir) => {
    const directories = [];
    for (const size of sizes) directories.push(benchDirectory(await loadBenchTopology(dir, size)));
    const us = directories.map((): number[] => []);
    for (let round = 0; round < warmUpRounds + rounds; round += 1) {
      for (const [index, resolveNames] of directories.entries()) {
        const ms = await resolveNames();
        if (round >= warmUpRounds) us[index]?.push((ms * 1_000) / namesOfIsolate);
      }
    }
    const ratios = us.map((costs) => medianRatio(costs, us[0] ?? []));
    return [
      portable(
        "resolve with the dearest number of assignments ÷ the cheapest",
        Math.max(...ratios) / Math.min(...ratios),
        1.1,
      ),
      ...sizes.map(
        (size, index): Finding => ({
          name: "resolve of a new name, µs without KV, by assignments",
          size,
          value: median(us[index] ?? []),
          bound: null,
        }),
      ),
    ];
  });

async function loadBenchTopology(dir: string, size: number): Promise<Topology> {
  const topology = await loadTopology(await writeBenchTopology(dir, size), { ...production, placeholders: null });
  if (!topology.ok) throw new Error("the bench's topology has mistakes");
  return topology.value;
}

/**
 * Resolves one repository for each of a hundred assignments, which are spread over the whole directory. Returns the time in ms, without the KV's own
 * time.
 */
type ResolveNames = () => Promise<number>;

/** Here KV is a Map, and a Map with a million keys is slower than a small one. A deployed Worker's KV runs elsewhere, so KV's time is not counted. */
function benchDirectory(topology: Topology): ResolveNames {
  const records = wantedRecords(topology);
  const stamp = { revision: 1, appliedAt: new Date() };
  const textOf = (key: string) => {
    const record = records.get(key);
    return record === null ? null : recordText(key, record, stamp);
  };
  let kvMs = 0;
  const get = async (keys: string[]) => {
    const startedAt = performance.now();
    const values = new Map(keys.map((key) => [key, textOf(key)]));
    kvMs += performance.now() - startedAt;
    return values;
  };
  const names = namesOf(topology);
  return async () => {
    kvMs = 0;
    const startedAt = performance.now();
    const directory = startIsolate({ get }).directory();
    for (const name of names) {
      const resolution = await resolvePod(directory, { name });
      if (!resolution.ok || resolution.value.pod === null) throw new Error(`"${name}" has no Pod`);
    }
    return performance.now() - startedAt - kvMs;
  };
}

function namesOf({ assignments }: Topology): readonly RepositoryName[] {
  const step = assignments.size / namesOfIsolate;
  const names: RepositoryName[] = [];
  let index = 0;
  for (const prefix of assignments.keys()) {
    if (index++ < names.length * step) continue;
    const name = parseRepositoryName(`${prefix}/app`);
    if (name.ok) names.push(name.value);
  }
  return names;
}
