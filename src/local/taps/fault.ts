/** Faults of a tap: the wire form that `PUT <control>/faults/…` takes, parsed once. Pure. */
import { parseJsonObject } from "../../lib/json.ts";
import { err, ok, type Result } from "../../lib/result.ts";
import type { Fault } from "../types.ts";

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
