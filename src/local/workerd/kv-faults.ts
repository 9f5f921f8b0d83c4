/** The faults that `PUT <control>/faults/kv` sets on the edge's KV. */
import { parseJsonObject } from "../../lib/json.ts";
import { err, ok, type Result } from "../../lib/result.ts";

/** `share` is the part of the calls that meet the fault, from 0 to 1. These calls are spread evenly. */
export type KvFault =
  | { readonly mode: "none" }
  | { readonly mode: "fail" | "hang"; readonly share: number }
  | { readonly mode: "delay"; readonly ms: number; readonly share: number };

const maxDelayMs = 600_000;

export function parseKvFault(text: string): Result<KvFault, string> {
  const body = parseJsonObject(text);
  if (body === null) return err('The body must be a JSON object such as {"mode":"fail"}.');
  const { mode, ms, share = 1 } = body;
  if (typeof share !== "number" || share < 0 || share > 1) return err('"share" must be a number from 0 to 1.');
  switch (mode) {
    case "none":
      return ok({ mode });
    case "fail":
    case "hang":
      return ok({ mode, share });
    case "delay":
      return typeof ms === "number" && Number.isInteger(ms) && ms >= 0 && ms <= maxDelayMs
        ? ok({ mode, ms, share })
        : err(`"ms" must be an integer from 0 to ${maxDelayMs}.`);
    default:
      return err('"mode" must be one of none, fail, hang, delay.');
  }
}
