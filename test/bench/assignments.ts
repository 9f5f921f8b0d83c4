import { createWriteStream } from "node:fs";
import { writeFile } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { PodId } from "../../src/directory/pod-id.ts";
import type { Prefix } from "../../src/oci/repository-name.ts";
import type { Topology } from "../../src/topology/topology.ts";
import { topologyOf, topologyText } from "../support/topologies.ts";

const pods = Array.from({ length: 10 }, (_, index) => `pod-${index}`);

/** As groups of a large company are named, in no order. */
function* assignments(count: number): Generator<readonly [prefix: string, pod: string]> {
  for (let index = 0; index < count; index += 1) {
    const mixed = Math.imul(index, 0x9e3779b1) >>> 0;
    yield [`group-${mixed.toString(36)}/team-${index % 100}`, pods[mixed % pods.length] ?? ""];
  }
}

export function benchTopology(count: number): Topology {
  const topology = topologyOf(topologyText(pods));
  for (const [prefix, pod] of assignments(count)) topology.assignments.add(prefix as Prefix, pod as PodId);
  return topology;
}

/** The same as files: gives the topology's path. */
export async function writeBenchTopology(dir: string, count: number): Promise<string> {
  const lines = Readable.from(linesOf(count));
  await pipeline(lines, createWriteStream(`${dir}/assignments-${count}.tsv`));
  const path = `${dir}/topology-${count}.yaml`;
  await writeFile(path, topologyText(pods, `assignmentsFile: assignments-${count}.tsv`));
  return path;
}

function* linesOf(count: number): Generator<string> {
  let chunk = "";
  for (const [prefix, pod] of assignments(count)) {
    chunk += `${prefix}\t${pod}\n`;
    if (chunk.length < 1 << 16) continue;
    yield chunk;
    chunk = "";
  }
  yield chunk;
}
