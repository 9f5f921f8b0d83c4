import { createWriteStream } from "node:fs";
import { writeFile } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { topologyText } from "../support/topologies.ts";

const pods = Array.from({ length: 10 }, (_, index) => `pod-${index}`);

export async function writeBenchTopology(dir: string, count: number): Promise<string> {
  const lines = `assignments-${count}.tsv`;
  await pipeline(linesOf(count), createWriteStream(`${dir}/${lines}`));
  const path = `${dir}/topology-${count}.yaml`;
  await writeFile(path, topologyText(pods, `assignmentsFile: ${lines}`));
  return path;
}

/** The names are like those of a large company's groups, and in no order. */
function* linesOf(count: number): Generator<string> {
  let lines = "";
  for (let index = 0; index < count; index += 1) {
    const mixed = Math.imul(index, 0x9e3779b1) >>> 0;
    lines += `group-${mixed.toString(36)}/team-${index % 100}\t${pods[mixed % pods.length]}\n`;
    if (index % 1_000 < 999 && index < count - 1) continue;
    yield lines;
    lines = "";
  }
}
