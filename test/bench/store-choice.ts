/** How much more a redirect costs if the store is only for clients from ten thousand blocks of addresses. */
import type { LocalPodId } from "../../src/local/pods/start-pods.ts";
import { layersOf } from "../support/client.ts";
import { amount, type Finding, portable } from "./finding.ts";
import { Load, type Target } from "./load.ts";
import { measureRounds, medianDifference, medianRatio, type Rounds } from "./rounds.ts";
import { startBenchStack, withTeardown } from "./stage.ts";

const blocks = 10_000;
/**
 * A documentation address (RFC 5737). Only `clientBlock` contains this address: all other IPv4 blocks of `manyBlocks` begin with a number from 1 to
 * 200.
 */
const client = "203.0.113.9";
const clientBlock = "203.0.113.0/24";

/**
 * pod-b's store is only for clients in the blocks of `manyBlocks`, and pod-a's store is for all clients. Both Pods belong to one edge in one process.
 */
export const benchStoreChoice = (rounds: Rounds): Promise<readonly Finding[]> =>
  withTeardown(async (teardown, dir) => {
    const condition = `when: { cidrs: [${manyBlocks().join(", ")}] }`;
    const topology = (text: string) => text.replace("bucket: pod-b\n", `bucket: pod-b\n          ${condition}\n`);
    const stack = await startBenchStack(teardown, dir, { topology });
    const load = new Load();
    teardown.add({ stop: async () => load.close() });
    const subject = async (pod: LocalPodId, repository: string) => {
      const { bundle } = await stack.longToken(pod, repository);
      const [layer] = await layersOf(stack, repository);
      const target: Target = {
        url: `${stack.edge}/v2/${repository}/blobs/${layer?.digest ?? ""}`,
        headers: { Authorization: `Bearer ${bundle}`, "CF-Connecting-IP": client },
        status: 307,
      };
      return { pid: stack.workerdPid(), run: (count: number) => load.send(count, () => target) };
    };
    const subjects = {
      without: await subject("pod-a", "acme/private"),
      with: await subject("pod-b", "globex/private"),
    };
    const us = await measureRounds(subjects, rounds);
    return [
      portable("blob redirect with 10,000 CIDRs in the store ÷ without", medianRatio(us.with, us.without)),
      amount("store choice with 10,000 CIDRs, µs of CPU added to a redirect", medianDifference(us.with, us.without), 5),
    ];
  });

/** Like a cloud's list, this one has IPv4 and IPv6 blocks in no order. The client's own block comes last, so a linear search would find it last. */
function manyBlocks(): readonly string[] {
  const others = Array.from({ length: blocks - 1 }, (_, index) => {
    const mixed = Math.imul(index, 0x9e3779b1) >>> 8;
    const [high, middle, low] = [1 + ((mixed >>> 16) % 200), (mixed >>> 8) & 0xff, mixed & 0xff];
    return index % 4 === 0
      ? `"2001:db8:${((high << 8) | middle).toString(16)}:${low.toString(16)}::/64"`
      : `${high}.${middle}.${low}.0/24`;
  });
  return [...others, clientBlock];
}
