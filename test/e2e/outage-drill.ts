/** Makes services of one Pod fail for a while, and checks what each kind of request gets meanwhile. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import type { LocalPodId } from "../../src/local/pods/start-pods.ts";
import type { Stack } from "../../src/local/stack.ts";
import type { Fault } from "../../src/local/taps/faults.ts";
import { type PulledImage, pullWhole } from "../support/whole-pull.ts";

const fullSeconds = process.env["DRILL_SECONDS"];
export const isFullDrill = fullSeconds !== undefined;
/** `DRILL_SECONDS` if it is set (60 in a full drill), or else `shortSeconds`. */
export const drillSecondsOr = (shortSeconds: number): number => Number(fullSeconds ?? shortSeconds);
const drillSeconds = drillSecondsOr(1);
const silenceMs = 10_000;
const backWithinMs = 5_000;
const mostMsOfRefusal = 1_000;
const mostMsOfNoise = 10;
/** A client begins at most one round in this time. Without the pauses, the machine would be busy all the time, and p99 would show only that. */
const roundMs = 200;

export type Drill = {
  readonly stack: Stack;
  readonly title: string;
  readonly pod: LocalPodId;
  readonly services: readonly ("registry" | "token" | "storage")[];
  readonly fault: Fault;
  /** Images of the failing Pod. During the outage, clients must still get them whole. */
  readonly held: readonly PulledImage[];
  readonly others: readonly PulledImage[];
  /** Sends a request that needs the service that fails in the outage, and returns the status. */
  readonly rest: () => Promise<number>;
  /** The status that `rest` returns before and after the outage. */
  readonly normalStatus: number;
  /** Clients that pull once during the outage. */
  readonly clients?: () => Promise<void>;
  /** Runs after the fault has begun, and before the first requests. */
  readonly prepare?: () => Promise<void>;
};

type Timed = { readonly ms: number; readonly error: string | null; readonly status?: number };

export async function runDrill(drill: Drill): Promise<void> {
  const { stack } = drill;
  const [otherBefore, , restBefore] = await sendAll(drill);
  expect(new Set(restBefore.map(({ status }) => status))).toEqual(new Set([drill.normalStatus]));
  await stack.edgeSettled();
  await setFaults(drill, drill.fault);
  let during: Sent;
  try {
    await drill.prepare?.();
    await openBreaker(drill);
    during = await sendAll(drill);
  } finally {
    await setFaults(drill, { mode: "none" });
  }
  const backMs = await msUntilNormal(drill);
  const [other, pulled, rest] = during;
  const slowestMs = Math.max(...rest.map(({ ms }) => ms));
  const [msBefore, msDuring] = [otherBefore, other].map((all) => all.map(({ ms }) => ms)) as [number[], number[]];
  const timesOf = (share: number) =>
    `p${share * 100} ${at(share, msBefore).toFixed(0)} → ${at(share, msDuring).toFixed(0)} ms`;
  console.log(
    `${drill.title}, ${JSON.stringify(drill.fault)}: other Pod ${failed(other)} of ${other.length} pulls failed (${timesOf(0.5)}, ${timesOf(0.99)}); ` +
      `held ${failed(pulled)} of ${pulled.length} failed; the rest ${rest.length} times, at most ${slowestMs.toFixed(0)} ms; back after ${backMs.toFixed(0)} ms`,
  );
  expect(errorsOf(other)).toEqual([]);
  expect(failed(pulled) / Math.max(pulled.length, 1), errorsOf(pulled).join("; ")).toBeLessThanOrEqual(0.01);
  expectRest(drill, rest);
  expect(backMs).toBeLessThan(backWithinMs);
  expectSameP99(msBefore, msDuring);
}

/** A short drill has too few pulls for a p99, so it asserts nothing here. */
export function expectSameP99(msBefore: readonly number[], msDuring: readonly number[]): void {
  if (isFullDrill) expect(at(0.99, msDuring)).toBeLessThan(1.3 * at(0.99, msBefore) + mostMsOfNoise);
}

type Sent = readonly [others: readonly Timed[], held: readonly Timed[], rest: readonly Timed[]];

/** Sends all kinds of requests for `drillSeconds`. They begin at different moments, so that this process is not too busy to see answers in time. */
async function sendAll({ stack, others, held, rest, clients }: Drill): Promise<Sent> {
  // The taps and the log remember 50,000 requests. With so many, this process stops for 100 ms at a time to collect garbage.
  stack.clearSeen();
  const sent = await Promise.all([
    repeat(() => pullAll(stack, others), 0),
    held.length === 0 ? [] : repeat(() => pullAll(stack, held), roundMs / 3),
    repeat(async () => [await timed(rest)], (2 * roundMs) / 3),
  ]);
  // dockerd needs both CPUs for a second when it unpacks an image, and this would raise p99. So `clients` pull only after the other requests.
  await clients?.();
  return sent;
}

function expectRest({ fault, normalStatus }: Drill, rest: readonly Timed[]): void {
  expect(rest.length).toBeGreaterThan(0);
  // With `reset`, the service sends headers before it breaks off. The edge takes headers for an answer, so it goes on calling the service, and the
  // statuses vary.
  if (fault.mode === "delay") expect(new Set(rest.map(({ status }) => status))).toEqual(new Set([normalStatus]));
  else if (fault.mode !== "reset") expect(new Set(rest.map(({ status }) => status))).toEqual(new Set([503]));
  if (fault.mode !== "delay") expect(Math.max(...rest.map(({ ms }) => ms))).toBeLessThan(mostMsOfRefusal);
}

/** Three failures open the breaker. If the service hangs, a request counts as a failure after ten seconds, even if the client still waits for it. */
async function openBreaker({ rest, fault }: Drill): Promise<void> {
  if (fault.mode === "delay") return;
  const failures = Promise.all([rest, rest, rest].map(timed));
  await (fault.mode === "hang" ? sleep(silenceMs + 500) : failures);
}

async function setFaults({ stack, pod, services }: Drill, fault: Fault): Promise<void> {
  for (const service of services) await stack.setFault(pod, service, fault);
}

async function msUntilNormal({ rest, normalStatus }: Drill): Promise<number> {
  const endedAtMs = performance.now();
  const options = { timeout: 2 * backWithinMs, interval: 50 };
  await expect.poll(async () => (await timed(rest)).status, options).toBe(normalStatus);
  return performance.now() - endedAtMs;
}

/**
 * Does the work again and again for `drillSeconds`, and at least once. The first round begins after `offsetMs`. Each later round begins at
 * the next multiple of `roundMs`, counted from the beginning of the first round.
 */
async function repeat(work: () => Promise<readonly Timed[]>, offsetMs: number): Promise<readonly Timed[]> {
  const beginsAtMs = performance.now() + offsetMs;
  const passedMs = () => performance.now() - beginsAtMs;
  const all: Timed[] = [];
  await sleep(offsetMs);
  do {
    all.push(...(await work()));
    await sleep(roundMs - (passedMs() % roundMs));
  } while (passedMs() < drillSeconds * 1_000);
  return all;
}

const pullAll = (stack: Stack, images: readonly PulledImage[]): Promise<readonly Timed[]> =>
  Promise.all(images.map((image) => timed(() => pullWhole(stack.edge, image).then(() => 200))));

async function timed(work: () => Promise<number>): Promise<Timed> {
  const startedAtMs = performance.now();
  const done = await work().then(
    (status) => ({ status, error: null }),
    (error: unknown) => ({ error: String(error) }),
  );
  return { ...done, ms: performance.now() - startedAtMs };
}

const errorsOf = (all: readonly Timed[]) => all.flatMap(({ error }) => error ?? []);
const failed = (all: readonly Timed[]): number => errorsOf(all).length;
/** Returns the time within which this share of the requests ended. */
export const at = (share: number, ms: readonly number[]): number =>
  ms.toSorted((a, b) => a - b)[Math.floor(ms.length * share)] ?? 0;
