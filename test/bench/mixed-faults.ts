/** What fails during the mixed load: one thing in each minute, for 20 s of it. */
import type { LocalPodId } from "../../src/local/pods/start-pods.ts";
import type { Stack } from "../../src/local/stack.ts";
import type { Fault } from "../../src/local/taps/faults.ts";
import type { KvFault } from "../../src/local/workerd/kv-faults.ts";

const beginsAfterMs = 20_000;
const endsAfterMs = 40_000;
/**
 * Until this time after the start of the fault's minute, requests may fail although the fault has ended. The edge must first find by a probe that the
 * Pod is back, and an old request may end only at its deadline.
 */
const settlesAfterMs = 55_000;

type Planned = { readonly name: string; set(isOn: boolean): Promise<void> };

function faultsOf(stack: Stack): readonly Planned[] {
  const ofPod = (pod: LocalPodId, service: "registry" | "token" | "storage", fault: Fault): Planned => ({
    name: `${pod} ${service} ${fault.mode}`,
    set: (isOn) => stack.setFault(pod, service, isOn ? fault : { mode: "none" }),
  });
  const ofKv = (fault: KvFault): Planned => ({
    name: `kv ${fault.mode}`,
    set: (isOn) => stack.setKvFault(isOn ? fault : { mode: "none" }),
  });
  return [
    ofPod("pod-a", "registry", { mode: "refuse" }),
    ofPod("pod-b", "token", { mode: "refuse" }),
    ofKv({ mode: "fail", share: 1 }),
    ofPod("pod-b", "registry", { mode: "status", status: 503 }),
    ofPod("pod-a", "registry", { mode: "hang" }),
    ofPod("pod-a", "storage", { mode: "status", status: 503 }),
    ofPod("pod-b", "registry", { mode: "reset" }),
    ofKv({ mode: "hang", share: 1 }),
    ofPod("pod-a", "token", { mode: "hang" }),
    ofPod("pod-b", "registry", { mode: "delay", ms: 3_000 }),
    ofKv({ mode: "delay", ms: 2_000, share: 1 }),
  ];
}

export type Faults = {
  /** Begins or ends the fault that is due `ms` after the start. */
  advance(ms: number): Promise<void>;
  /** The name of the fault that is on, or whose effects may not be over yet. Null if there is none. */
  current(): string | null;
  end(): Promise<void>;
};

export function playFaults(stack: Stack): Faults {
  const planned = faultsOf(stack);
  let active: Planned | null = null;
  let name: string | null = null;
  return {
    advance: async (ms) => {
      const inMinuteMs = ms % 60_000;
      const isDue = inMinuteMs >= beginsAfterMs && inMinuteMs < endsAfterMs;
      if (isDue && active === null) {
        active = planned[Math.floor(ms / 60_000) % planned.length] ?? null;
        name = active?.name ?? null;
        await active?.set(true);
      } else if (!isDue && active !== null) {
        await active.set(false);
        active = null;
      }
      if (active === null && (inMinuteMs < beginsAfterMs || inMinuteMs >= settlesAfterMs)) name = null;
    },
    current: () => name,
    end: async () => active?.set(false),
  };
}
