/**
 * A Worker between the edge and its KV namespace, which Miniflare runs. It passes calls on, and can play the faults of a KV that is down or slow.
 * The edge calls it as it calls KV. Only Miniflare reaches its `fetch`, which sets the fault.
 */
import { WorkerEntrypoint } from "cloudflare:workers";
import type { BulkKv, KvWriter } from "../../directory/kv.ts";
import type { KvFault } from "./kv-faults.ts";

/** What all of this Worker's calls share. */
const current: { fault: KvFault; met: number } = { fault: { mode: "none" }, met: 0 };
/** Longer than anyone waits. A promise without a timer behind it would be ended by workerd as one that hangs. */
const endlessMs = 3_600_000;

export default class extends WorkerEntrypoint<{ readonly DIRECTORY: BulkKv & KvWriter }> {
  async get(...read: Parameters<BulkKv["get"]>): ReturnType<BulkKv["get"]> {
    await playFault();
    return this.env.DIRECTORY.get(...read);
  }

  async put(...write: Parameters<KvWriter["put"]>): Promise<void> {
    await playFault();
    await this.env.DIRECTORY.put(...write);
  }

  async fetch(request: Request): Promise<Response> {
    Object.assign(current, { fault: await request.json(), met: 0 });
    return new Response(null, { status: 204 });
  }
}

async function playFault(): Promise<void> {
  const { fault } = current;
  if (fault.mode === "none" || !meets(fault.share)) return;
  if (fault.mode === "fail") throw new Error("KV failed: 503 Service Unavailable");
  await sleep(fault.mode === "delay" ? fault.ms : endlessMs);
}

/** Of ten calls with a share of 0.9, the same nine each time. */
function meets(share: number): boolean {
  current.met += share;
  // Sums of tenths are a little less than they should be.
  if (current.met < 1 - 1e-9) return false;
  current.met -= 1;
  return true;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
