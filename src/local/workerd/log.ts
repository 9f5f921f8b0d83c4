/** The Worker's log lines: its records about requests are kept, its complaints printed, all else dropped. */
import { setTimeout as sleep } from "node:timers/promises";
import { parseJsonObject } from "../../lib/json.ts";
import type { EdgeRecord } from "../types.ts";

const maxRecords = 50_000;
const quietMs = 40;
const settleMs = 2_000;

export class EdgeLog {
  #records: EdgeRecord[] = [];
  #messages: string[] = [];
  #lines = 0;
  #kvReads = 0;
  #closed = false;

  receive(line: { readonly level: string; readonly message: string }): void {
    this.#lines += 1;
    this.#messages.push(line.message);
    if (this.#messages.length > maxRecords * 1.25) this.#messages = this.#messages.slice(-maxRecords);
    const record = parseRecord(line.message);
    if (record === null) {
      if (!this.#closed && (line.level === "error" || line.level === "warn")) console.error(`edge: ${line.message}`);
      return;
    }
    this.#kvReads += record.kvReads;
    this.#records.push(record);
    if (this.#records.length > maxRecords * 1.25) this.#records = this.#records.slice(-maxRecords);
  }

  /** A line leaves the Worker after its answer: waits until a moment passes without one. */
  async settled(): Promise<void> {
    const giveUpAt = Date.now() + settleMs;
    for (let before = -1; before !== this.#lines && Date.now() < giveUpAt; await sleep(quietMs)) before = this.#lines;
  }

  /** Complaints about the end of the stack are none. */
  close(): void {
    this.#closed = true;
  }

  list(): readonly EdgeRecord[] {
    return this.#records.slice(-maxRecords);
  }

  /** As the Worker wrote them, records and complaints. */
  messages(): readonly string[] {
    return this.#messages.slice(-maxRecords);
  }

  clear(): void {
    this.#records = [];
    this.#messages = [];
  }

  /** Since the start; clearing the list does not reset it. */
  kvReads(): number {
    return this.#kvReads;
  }
}

function parseRecord(message: string): EdgeRecord | null {
  const { log, ...record } = (parseJsonObject(message) ?? {}) as Partial<EdgeRecord> & { log?: unknown };
  const isRecord = log === "edge" && typeof record.path === "string" && typeof record.kvReads === "number";
  return isRecord ? (record as EdgeRecord) : null;
}
