import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { KvFault } from "../../src/local/workerd/kv-faults.ts";
import { createClient, pushBlob } from "../support/client.ts";
import { useStack } from "../support/toy-stack.ts";
import { at, drillSecondsOr, expectSameP99 } from "./outage-drill.ts";

// This file compares times, so it is in test/e2e, where the files run one after the other.
const stack = useStack();
/** After this time, everything that the isolate has read from KV has expired. */
const expiryMs = 31_000;
const drillMs = 1_000 * drillSecondsOr(4);

async function pull(repository: string): Promise<readonly number[]> {
  const client = createClient(stack.current.edge);
  const token = await client.token([`repository:${repository}:pull`]);
  const manifest = await client.get(`/v2/${repository}/manifests/1`, token);
  const { layers } = (await manifest.json()) as { layers: { digest: string }[] };
  const blob = await client.get(`/v2/${repository}/blobs/${layers[0]?.digest}`, token);
  return [manifest.status, blob.status];
}

async function pullFor(ms: number): Promise<readonly number[]> {
  const took: number[] = [];
  const endsAtMs = performance.now() + ms;
  while (performance.now() < endsAtMs) {
    for (const repository of ["acme/private", "globex/private"]) {
      const startedAtMs = performance.now();
      expect(await pull(repository)).toEqual([200, 307]);
      took.push(performance.now() - startedAtMs);
    }
  }
  return took;
}

async function push(): Promise<string> {
  return pushBlob(stack.current, "acme/app", `${Math.random()}`).then(
    () => "pushed",
    (error: Error) => error.message,
  );
}

const figures = (fault: KvFault, took: readonly number[]): string =>
  `${JSON.stringify(fault)}: ${took.length} pulls, ${[0.5, 0.95, 0.99].map((share) => `${share * 100} % within ${at(share, took).toFixed(0)} ms`).join(", ")}`;

describe("groups that were pulled before", { timeout: 120_000 + 5 * drillMs }, () => {
  test("they are pulled as fast while KV fails, is silent or is slow, and pushes work within 2 s of its return", async () => {
    const before = await pullFor(drillMs);
    console.log(figures({ mode: "none" }, before));
    const faults: readonly KvFault[] = [
      { mode: "fail", share: 1 },
      { mode: "fail", share: 0.9 },
      { mode: "delay", ms: 2_000, share: 1 },
      { mode: "hang", share: 1 },
    ];
    for (const fault of faults) {
      if (fault.mode === "hang") await sleep(expiryMs);
      await stack.current.setKvFault(fault);
      const during = await pullFor(drillMs);
      console.log(figures(fault, during));
      expect(at(0.5, during)).toBeLessThan(1.3 * at(0.5, before) + 20);
      expectSameP99(before, during);
      // A pull that is under way when KV becomes slow waits for KV for up to a quarter of a second. Later pulls do not wait, so only a few pulls take
      // as long.
      expect(during.filter((ms) => ms > 240).length).toBeLessThanOrEqual(2 + during.length / 50);
      if (fault.mode === "hang") expect(await push()).not.toBe("pushed");
      await stack.current.setKvFault({ mode: "none" });
      const returnedAtMs = performance.now();
      await expect.poll(push, { timeout: 2_000, interval: 100 }).toBe("pushed");
      console.log(`a push works ${(performance.now() - returnedAtMs).toFixed(0)} ms after KV's return`);
    }
  });
});
