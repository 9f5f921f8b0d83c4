/**
 * `node test/bench/mixed-load.ts --minutes 30`: clients pull, push and are refused, and in each minute a different service fails. Exits with 1 if an
 * answer was wrong, if a request failed while no service did, or if workerd took too much memory.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { collectGarbage } from "./heaps.ts";
import { playFaults } from "./mixed-faults.ts";
import { askMixed, type Outcome } from "./mixed-requests.ts";
import { pushImages } from "./mixed-truth.ts";
import { residentBytes } from "./process.ts";
import { type BenchStack, startBenchStack, withTeardown } from "./stage.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "2" },
    /** Requests per second. Choose about 70 % of what the machine can do. */
    "per-second": { type: "string", default: "100" },
    images: { type: "string", default: "200" },
  },
});
const [minutes, perSecond, images] = [values.minutes, values["per-second"], values.images].map(Number) as [
  number,
  number,
  number,
];
const warmMinutes = 5;
/** All caches in `src/isolate.ts` together may take this many bytes. */
const mostBytesOfHeap = 64e6;
/**
 * While this many requests are under way, we send no new one. A new one would wait for a free connection, and its wait would count as the edge's
 * failure.
 */
const mostAtOnce = 200;

type Memory = { readonly before: number; readonly after: number; readonly edgeHeap: number };

/**
 * V8 itself collects a whole heap only if the heap is large. Without our collection, garbage of the edge and of Miniflare would at first make workerd
 * grow by some 80 MB a minute.
 */
async function measure(stack: BenchStack): Promise<Memory> {
  const before = await residentBytes(stack.workerdPid());
  const edgeHeap = await collectGarbage(await stack.inspectorUrl());
  return { before, after: await residentBytes(stack.workerdPid()), edgeHeap };
}

await withTeardown(async (teardown, dir) => {
  const stack = await startBenchStack(teardown, dir, { env: { LOG_SAMPLE: "0" }, inspect: true });
  const all = await pushImages(stack, images);
  const faults = playFaults(stack);
  const counts = new Map<string, number>();
  const wrong: string[] = [];
  const note = ({ kind, result, detail }: Outcome, fault: string | null) => {
    const key = result === "failed" ? `failed during ${fault ?? "nothing"}: ${kind}: ${detail}` : `${result}: ${kind}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
    const isWrong = result === "wrong" || (result === "failed" && fault === null);
    if (isWrong) wrong.push(`${new Date().toISOString()} ${kind}: ${detail}`);
  };
  const startedAtMs = performance.now();
  const memory: Promise<Memory>[] = [];
  let measuring = 0;
  const underWay = new Set<Promise<void>>();
  let left = 0;
  // A Worker's garbage is collected only while the Worker has requests, so we send some until the last minute is measured.
  for (let sent = 0; memory.length <= minutes || measuring > 0; sent += 1) {
    const nowMs = performance.now() - startedAtMs;
    await faults.advance(nowMs);
    if (nowMs >= memory.length * 60_000 && memory.length <= minutes) {
      measuring += 1;
      memory.push(
        measure(stack).finally(() => {
          measuring -= 1;
        }),
      );
      stack.clearSeen();
    }
    if (underWay.size < mostAtOnce) {
      const begun = faults.current();
      const asked = askMixed(stack, all).then((outcome) => note(outcome, begun ?? faults.current()));
      underWay.add(asked);
      void asked.finally(() => underWay.delete(asked));
    } else left += 1;
    await sleep(Math.max(0, ((sent + 1) * 1_000) / perSecond - (performance.now() - startedAtMs)));
  }
  await faults.end();
  await Promise.all(underWay);
  console.table(Object.fromEntries([...counts].toSorted(([one], [other]) => one.localeCompare(other))));
  const measured = await Promise.all(memory);
  const byMinute = (bytes: (each: Memory) => number) => measured.map((each) => Math.round(bytes(each) / 1e6)).join(" ");
  console.log(`memory of workerd by minute, MB: ${byMinute(({ before }) => before)}`);
  console.log(`the same after a collection of garbage: ${byMinute(({ after }) => after)}`);
  console.log(`the edge's heap after it: ${byMinute(({ edgeHeap }) => edgeHeap)}`);
  console.log(`${left} requests were left out, because ${mostAtOnce} were under way`);
  for (const line of wrong.slice(0, 50)) console.error(line);
  console.log(`${wrong.length} wrong answers`);
  const [warm, last] = [measured[warmMinutes], measured.at(-1)];
  const isFlat = warm === undefined || last === undefined || last.after <= warm.after * 1.2;
  if (!isFlat) console.error("memory has grown by more than a fifth since the fifth minute");
  const isBounded = measured.every(({ edgeHeap }) => edgeHeap <= mostBytesOfHeap);
  if (!isBounded) console.error(`the edge's heap is over ${mostBytesOfHeap / 1e6} MB`);
  if (wrong.length > 0 || !isFlat || !isBounded) process.exitCode = 1;
});
