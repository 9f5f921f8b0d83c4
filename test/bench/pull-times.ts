/** How long a pull of small layers takes from a Pod that is far away, directly and through an edge that is near. */
import type { Stack } from "../../src/local/stack.ts";
import { pushImage } from "../support/image.ts";
import { amount, type Finding, portable } from "./finding.ts";
import { blobsOfImage, type Image, pull } from "./pull.ts";
import { median, medianRatio } from "./rounds.ts";
import { startBenchStack, withTeardown } from "./stage.ts";

const repository = "acme/far";
/** With a delay of `goalMs` at the Pod, a pull through the edge should take at most `maxRatio` of the time of a direct pull. */
const goalMs = 40;
const maxRatio = 0.35;

type Options = { readonly delaysMs: readonly number[]; readonly rounds: number };

export const benchPullTimes = ({ delaysMs, rounds }: Options): Promise<readonly Finding[]> =>
  withTeardown(async (teardown, dir) => {
    const stack = await startBenchStack(teardown, dir);
    await pushImage(stack, repository, blobsOfImage - 1);
    const edge = { origin: stack.edge, repository };
    const pod = { origin: stack.pods["pod-a"].registry.url, repository };
    const findings: Finding[] = [];
    for (const delayMs of delaysMs) {
      await delayPod(stack, delayMs);
      const ms = await pullInTurns({ edge, pod }, rounds);
      const at = `pull of 10 small layers at ${delayMs} ms to the Pod`;
      findings.push(
        portable(`${at} ÷ straight to it`, medianRatio(ms.edge, ms.pod), delayMs === goalMs ? maxRatio : null),
        amount(`${at}, ms`, median(ms.edge)),
        amount(`${at}, straight to it, ms`, median(ms.pod)),
      );
    }
    stack.clearSeen();
    await pull(edge);
    const asked = stack.seen("pod-a", "registry").length;
    return [...findings, portable("requests to the registry of a warm pull", asked, 1)];
  });

/** The edge's requests and the client's are delayed alike. The storage is not delayed. */
async function delayPod(stack: Stack, ms: number): Promise<void> {
  for (const service of ["registry", "token"] as const) await stack.setFault("pod-a", service, { mode: "delay", ms });
}

async function pullInTurns(images: { readonly edge: Image; readonly pod: Image }, rounds: number) {
  const ms = { edge: [] as number[], pod: [] as number[] };
  for (let round = 0; round <= rounds; round += 1) {
    for (const name of ["edge", "pod"] as const) {
      const startedAt = performance.now();
      await pull(images[name]);
      // Round 0 is not counted, because its pulls fill the caches for the later rounds.
      if (round > 0) ms[name].push(performance.now() - startedAt);
    }
  }
  return ms;
}
