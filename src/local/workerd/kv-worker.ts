/**
 * This Worker is between the edge and its KV namespace, and can play the faults of a KV that is down or slow. The stack's own reads and writes come
 * by `fetch`, and never meet the fault.
 */
import { WorkerEntrypoint } from "cloudflare:workers";
import type { BulkKv, KvWriter } from "../../directory/kv.ts";
import type { ApiKv } from "./kv-api.ts";
import type { KvFault } from "./kv-faults.ts";
import type { KvCommand } from "./kv-socket.ts";

/** All calls share this state. Each call adds the fault's share to `met`, and meets the fault when the sum reaches 1. */
const current: { fault: KvFault; met: number } = { fault: { mode: "none" }, met: 0 };
/**
 * A call that meets the fault `hang` sleeps this long, which is longer than any caller waits. We use a timer, because workerd ends a request that
 * waits for a promise that nothing can resolve.
 */
const endlessMs = 3_600_000;

export default class extends WorkerEntrypoint<{ readonly DIRECTORY: BulkKv & KvWriter & ApiKv }> {
  async get(...read: Parameters<BulkKv["get"]>): ReturnType<BulkKv["get"]> {
    await playFault();
    return this.env.DIRECTORY.get(...read);
  }

  async put(...write: Parameters<KvWriter["put"]>): Promise<void> {
    await playFault();
    await this.env.DIRECTORY.put(...write);
  }

  async fetch(request: Request): Promise<Response> {
    try {
      const result = await this.#run((await request.json()) as KvCommand);
      return Response.json(result ?? null);
    } catch (error) {
      return new Response(error instanceof Error ? error.message : String(error), { status: 500 });
    }
  }

  #run(command: KvCommand): Promise<unknown> | null {
    const { DIRECTORY: kv } = this.env;
    switch (command.do) {
      case "fault":
        Object.assign(current, { fault: command.fault, met: 0 });
        return null;
      case "list":
        return kv.list(command.options);
      case "get":
        return kv.get(command.key);
      case "put":
        return kv.put(command.key, command.value, command.options);
      case "delete":
        return kv.delete(command.key);
    }
  }
}

async function playFault(): Promise<void> {
  const { fault } = current;
  if (fault.mode === "none" || !meets(fault.share)) return;
  if (fault.mode === "fail") throw new Error("KV failed: 503 Service Unavailable");
  await sleep(fault.mode === "delay" ? fault.ms : endlessMs);
}

/** Whether this call meets the fault. With a share of 0.9, nine of ten calls meet the fault. */
function meets(share: number): boolean {
  current.met += share;
  // A sum of tenths that should be 1 can be slightly smaller in floating point.
  if (current.met < 1 - 1e-9) return false;
  current.met -= 1;
  return true;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
