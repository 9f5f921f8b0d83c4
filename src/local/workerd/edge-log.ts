/** The Worker's log. It keeps every line as text, and a line about a request also as a record. */
import { setTimeout as sleep } from "node:timers/promises";
import { parseJsonObject } from "../../lib/json.ts";
import { Recent } from "../recent.ts";

/** The Worker's line about one request. This type has only the fields that the stack and its tests read. */
export type EdgeRecord = {
  readonly at: string;
  readonly sample: number;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly outcome: string;
  readonly endpoint: string;
  readonly repository?: string;
  readonly digest?: string;
  readonly pod?: string;
  readonly requestBytes: number | null;
  readonly responseBytes: number | null;
  readonly kvReads: number;
  readonly kvKeys: number;
  readonly podRequests: number;
  /** Where the edge found the proof for a redirect to a blob. Other answers do not have this member. */
  readonly proof?: "memory" | "cache" | "manifest" | "head";
  /** Set if the Pod's answer ended in the middle of a manifest, and the edge sent the rest. */
  readonly completed?: true;
  readonly subject?: string;
  readonly client?: string;
  readonly userAgent?: string;
  readonly ray?: string;
  readonly ms: number;
};

const maxRecords = 50_000;
const quietMs = 40;
const settleMs = 2_000;

export class EdgeLog {
  readonly #records = new Recent<EdgeRecord>(maxRecords);
  readonly #messages = new Recent<string>(maxRecords);
  #lines = 0;
  #kvReads = 0;
  #closed = false;

  receive(line: { readonly level: string; readonly message: string }): void {
    this.#lines += 1;
    this.#messages.add(line.message);
    const record = parseRecord(line.message);
    if (record === null) {
      if (!this.#closed && (line.level === "error" || line.level === "warn")) console.error(`edge: ${line.message}`);
      return;
    }
    this.#kvReads += record.kvReads;
    this.#records.add(record);
  }

  /** Waits until no line has come for a moment, because the Worker writes a line after its answer. */
  async settled(): Promise<void> {
    const giveUpAt = Date.now() + settleMs;
    for (let before = -1; before !== this.#lines && Date.now() < giveUpAt; await sleep(quietMs)) before = this.#lines;
  }

  /** Stops printing warnings and errors. The stack is ending, and later warnings would only be about servers that have stopped. */
  close(): void {
    this.#closed = true;
  }

  list(): readonly EdgeRecord[] {
    return this.#records.list();
  }

  messages(): readonly string[] {
    return this.#messages.list();
  }

  clear(): void {
    this.#records.clear();
    this.#messages.clear();
  }

  /** Counts from the start of the stack. `clear` does not reset this number. */
  kvReads(): number {
    return this.#kvReads;
  }
}

function parseRecord(message: string): EdgeRecord | null {
  const { log, ...record } = (parseJsonObject(message) ?? {}) as Partial<EdgeRecord> & { log?: unknown };
  const isRecord = log === "edge" && typeof record.path === "string" && typeof record.kvReads === "number";
  return isRecord ? (record as EdgeRecord) : null;
}
