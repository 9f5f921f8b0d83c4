/**
 * A Worker between the edge and its KV namespace, which Miniflare runs. It passes reads on, and can play the faults of a KV that is down or slow.
 * The edge calls it as it calls KV. Only Miniflare reaches its `fetch`, which sets the fault.
 */
import { WorkerEntrypoint } from "cloudflare:workers";
import type { BulkKv } from "../../directory/kv.ts";
import type { KvFault } from "./kv-faults.ts";

/** What all of this Worker's calls share. */
const current: { fault: KvFault; met: number } = { fault: { mode: "none" }, met: 0 };
/** Longer than anyone waits. A promise without a timer behind it would be ended by workerd as one that hangs. */
const endlessMs = 3_600_000;

export default class extends WorkerEntrypoint<{ readonly DIRECTORY: BulkKv }> {
  async get(...read: Parameters<BulkKv["get"]>): ReturnType<BulkKv["get"]> {
    const { fault } = current;
    if (fault.mode !== "none" && meets(fault.share)) {
      if (fault.mode === "fail") throw new Error("KV GET_BULK failed: 503 Service Unavailable");
      await sleep(fault.mode === "delay" ? fault.ms : endlessMs);
    }
    return this.env.DIRECTORY.get(...read);
  }

  async fetch(request: Request): Promise<Response> {
    Object.assign(current, { fault: await request.json(), met: 0 });
    return new Response(null, { status: 204 });
  }
}

/** Of ten reads with a share of 0.9, the same nine each time. */
function meets(share: number): boolean {
  current.met += share;
  // Sums of tenths are a little less than they should be.
  if (current.met < 1 - 1e-9) return false;
  current.met -= 1;
  return true;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
