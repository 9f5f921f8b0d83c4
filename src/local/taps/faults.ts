/** The faults that `PUT <control>/faults/…` sets on a tap, and what each fault does to a request. */
import { parseJsonObject } from "../../lib/json.ts";
import { err, ok, type Result } from "../../lib/result.ts";
import { type Exchange, passThrough } from "./pass-through.ts";

export type Fault =
  | { readonly mode: "none" }
  | { readonly mode: "refuse" }
  | { readonly mode: "hang" }
  | { readonly mode: "reset" }
  | { readonly mode: "delay"; readonly ms: number }
  | { readonly mode: "status"; readonly status: number };

const maxDelayMs = 600_000;

export function parseFault(text: string): Result<Fault, string> {
  const body = parseJsonObject(text);
  if (body === null) return err('The body must be a JSON object such as {"mode":"refuse"}.');
  const { mode, ms, status } = body;
  switch (mode) {
    case "none":
    case "refuse":
    case "hang":
    case "reset":
      return ok({ mode });
    case "delay":
      return isIntegerIn(ms, 0, maxDelayMs)
        ? ok({ mode, ms })
        : err(`"ms" must be an integer from 0 to ${maxDelayMs}.`);
    case "status": {
      const code = status ?? 503;
      return isIntegerIn(code, 200, 599)
        ? ok({ mode, status: code })
        : err('"status" must be an integer from 200 to 599.');
    }
    default:
      return err('"mode" must be one of none, refuse, hang, reset, delay, status.');
  }
}

const isIntegerIn = (value: unknown, min: number, max: number): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= min && value <= max;

/** With `refuse`, the tap does not listen, so only a request that came before the fault gets here. */
export function playFault(fault: Fault, exchange: Exchange): void {
  const { response, record } = exchange;
  switch (fault.mode) {
    case "none":
    case "refuse":
      passThrough(exchange, "whole");
      break;
    case "reset":
      passThrough(exchange, "cut after headers");
      break;
    case "delay": {
      const timer = setTimeout(() => passThrough(exchange, "whole"), fault.ms);
      response.once("close", () => clearTimeout(timer));
      break;
    }
    case "hang":
      countAndDrop(exchange);
      break;
    case "status":
      countAndDrop(exchange);
      if (record !== null) Object.assign(record, { status: fault.status, ms: 0 });
      response.writeHead(fault.status, { "Content-Length": "0" }).end();
      break;
  }
}

function countAndDrop({ request, record }: Exchange): void {
  request.on("data", (chunk: Buffer) => {
    if (record !== null) record.requestBytes += chunk.length;
  });
}
