/**
 * `node test/bench/mixed-load.ts --minutes 30`: clients pull, push and are refused while something else fails in each minute. Each answer is compared with
 * the truth. It prints the wrong answers, the failures by kind, and workerd's memory by minute, and exits with 1 if an answer was wrong.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { playFaults } from "./mixed-faults.ts";
import { askMixed, type Outcome } from "./mixed-requests.ts";
import { pushImages } from "./mixed-truth.ts";
import { residentBytes } from "./process.ts";
import { startBenchStack, withTeardown } from "./stage.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "2" },
    /** Choose about 70 % of what the machine can do. */
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
/** A client that finds no free connection is not counted as the edge's failure. */
const mostAtOnce = 200;

await withTeardown(async (teardown, dir) => {
  const stack = await startBenchStack(teardown, dir, { env: { LOG_SAMPLE: "0" } });
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
  const memory: number[] = [];
  const underWay = new Set<Promise<void>>();
  let left = 0;
  for (let sent = 0; performance.now() - startedAtMs < minutes * 60_000; sent += 1) {
    const nowMs = performance.now() - startedAtMs;
    await faults.advance(nowMs);
    if (nowMs >= memory.length * 60_000) {
      memory.push(await residentBytes(stack.workerdPid()));
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
  memory.push(await residentBytes(stack.workerdPid()));
  console.table(Object.fromEntries([...counts].toSorted(([one], [other]) => one.localeCompare(other))));
  console.log(`memory of workerd by minute, MB: ${memory.map((bytes) => Math.round(bytes / 1e6)).join(" ")}`);
  console.log(`${left} requests were left out, because ${mostAtOnce} were under way`);
  for (const line of wrong.slice(0, 50)) console.error(line);
  console.log(`${wrong.length} wrong answers`);
  const [warm, last] = [memory[warmMinutes], memory.at(-1)];
  const isFlat = warm === undefined || last === undefined || last <= warm * 1.2;
  if (!isFlat) console.error("memory has grown by more than a fifth since the fifth minute");
  if (wrong.length > 0 || !isFlat) process.exitCode = 1;
});
