import { parseBase64 } from "../lib/bytes.ts";
import { err, ok, type Result } from "../lib/result.ts";

/**
 * One or two keys that the edge shares with one Pod's gateway. The edge seals with the first, and the gateway tries all, so that an operator can
 * replace a key while grants are in use.
 */
export type GatewayKeys = readonly [Uint8Array<ArrayBuffer>, ...Uint8Array<ArrayBuffer>[]];

const keyBytes = 32;
const maxKeys = 2;

/**
 * Parses keys as `openssl rand -base64 32` prints them, separated by commas or spaces. The error completes a sentence such as "GATEWAY_KEY is not …",
 * and never contains the text.
 */
export function parseGatewayKeys(text: string): Result<GatewayKeys, string> {
  const texts = text.split(/[\s,]+/).filter((each) => each !== "");
  const keys = texts.flatMap((each) => parseBase64(each) ?? []).filter(({ byteLength }) => byteLength === keyBytes);
  const [first, ...others] = keys;
  if (first === undefined || keys.length !== texts.length || keys.length > maxKeys) {
    return err("is not a gateway's key; want one or two keys of 32 bytes in base64, separated by a comma");
  }
  return ok([first, ...others]);
}
