/** How much more a redirect costs if ten thousand prefixes and digests are blocked. The request names none of them. */
import type { BulkKv } from "../../src/directory/kv.ts";
import { resolvePod } from "../../src/directory/resolve.ts";
import type { Teardown } from "../../src/local/teardown.ts";
import { type Digest, parseDigest } from "../../src/oci/digest.ts";
import { parseRepositoryName, type RepositoryName } from "../../src/oci/repository-name.ts";
import { layersOf } from "../support/client.ts";
import { startIsolate } from "../support/isolate.ts";
import { amount, type Finding, portable } from "./finding.ts";
import { Load, type Target } from "./load.ts";
import { measureRounds, median, medianDifference, medianRatio, type Rounds } from "./rounds.ts";
import { startBenchStack, withTeardown } from "./stage.ts";

const blocks = 10_000;
const repository = "acme/private";
const resolvesOfRound = 20_000;

/** A directory has one list of blocks for all names. So the edge with blocks and the edge without blocks have a stack each. */
export const benchBlocks = (rounds: Rounds): Promise<readonly Finding[]> =>
  withTeardown(async (teardown, dir) => {
    const load = new Load();
    teardown.add({ stop: async () => load.close() });
    const subject = async (name: string, record: string | null) => {
      const { pid, target } = await startEdge(teardown, `${dir}/${name}`, record);
      return { pid, run: (count: number) => load.send(count, () => target) };
    };
    const subjects = { without: await subject("without", null), with: await subject("with", manyBlocks()) };
    const us = await measureRounds(subjects, rounds);
    const resolved = await resolveInRounds(rounds.rounds);
    return [
      portable("blob redirect with 10,000 blocks ÷ with none", medianRatio(us.with, us.without)),
      amount("10,000 blocks, µs of CPU added to a redirect", medianDifference(us.with, us.without), 5),
      amount("resolve of a known digest with 10,000 blocks, µs", median(resolved.with)),
      amount("resolve of a known digest without blocks, µs", median(resolved.without)),
    ];
  });

async function startEdge(teardown: Teardown, dir: string, record: string | null) {
  const stack = await startBenchStack(teardown, dir);
  if (record !== null) await stack.putKv("blocks", record);
  await stack.restartEdge();
  const { bundle } = await stack.longToken("pod-a", repository);
  const [layer] = await layersOf(stack, repository);
  const url = `${stack.edge}/v2/${repository}/blobs/${layer?.digest ?? ""}`;
  const target: Target = { url, headers: { Authorization: `Bearer ${bundle}` }, status: 307 };
  return { pid: stack.workerdPid(), target };
}

function manyBlocks(): string {
  const entries = Array.from({ length: blocks }, (_, index) => {
    const blocked = index % 2 === 0 ? `acme/team-${index}/leaked` : `sha256:${String(index).padStart(64, "0")}`;
    return [blocked, "withdrawn by its owner; ask security@example.com"];
  });
  return JSON.stringify({ v: 1, revision: 1, blocks: Object.fromEntries(entries) });
}

/** Measures only the look-up of a name's Pod, in this process and with a KV in memory. Returns µs for each look-up. */
async function resolveInRounds(rounds: number): Promise<Readonly<Record<"with" | "without", readonly number[]>>> {
  const services = {
    registry: "https://a.test",
    token: "https://a.test/jwt/auth",
    issuer: "i",
    audience: "a",
    keys: [],
  };
  const records: readonly (readonly [string, string])[] = [
    ["directory", JSON.stringify({ v: 1, revision: 1, pods: ["pod-a"], depth: 1 })],
    ["route/acme", JSON.stringify({ v: 1, revision: 1, pod: "pod-a", state: "active" })],
    ["pod/pod-a", JSON.stringify({ v: 1, revision: 1, state: "active", ...services })],
  ];
  const without = warmIsolate(new Map(records));
  const withBlocks = warmIsolate(new Map([...records, ["blocks", manyBlocks()]]));
  const us = { with: [] as number[], without: [] as number[] };
  // The first round is not counted, because V8 compiles the code during it.
  for (let round = 0; round <= rounds; round += 1) {
    const measured = { without: await without(), with: await withBlocks() };
    if (round === 0) continue;
    us.without.push(measured.without);
    us.with.push(measured.with);
  }
  return us;
}

function warmIsolate(texts: ReadonlyMap<string, string>): () => Promise<number> {
  const kv: BulkKv = { get: async (keys) => new Map(keys.map((key) => [key, texts.get(key) ?? null])) };
  const isolate = startIsolate(kv);
  const question = { name: parsedOf<RepositoryName>(parseRepositoryName(repository)), digest: anyDigest() };
  return async () => {
    const startedAt = performance.now();
    for (let count = 0; count < resolvesOfRound; count += 1) {
      const resolution = await resolvePod(isolate.directory(), question);
      if (!resolution.ok || resolution.value.pod === null) throw new Error(`"${repository}" has no Pod`);
    }
    return ((performance.now() - startedAt) * 1_000) / resolvesOfRound;
  };
}

const anyDigest = (): Digest => parsedOf(parseDigest(`sha256:${"f".repeat(64)}`));

function parsedOf<T>(result: { readonly ok: true; readonly value: T } | { readonly ok: false }): T {
  if (!result.ok) throw new Error("the name or the digest does not parse");
  return result.value;
}
