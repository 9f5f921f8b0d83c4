import { isCompactJwt } from "../auth/bundle.ts";
import { claimsOf } from "../auth/verify.ts";

/**
 * Returns the cell id (base36) that a GitLab credential carries, or null if it carries none. The id only decides which Pod is asked, and that Pod
 * refuses a forged credential.
 */
export function cellOf(credential: string): string | null {
  if (credential.length > MAX_CI_TOKEN_CHARACTERS) return null;
  const routing = routingText(credential);
  const line = routing?.split("\n").find((text) => text.startsWith("c:"));
  const cell = routing === null ? cellOfCiToken(credential) : (line?.slice("c:".length) ?? null);
  return cell !== null && /^[0-9a-z]{1,13}$/.test(cell) ? cell : null;
}

const MAX_ROUTABLE_CHARACTERS = 333;
const MAX_CI_TOKEN_CHARACTERS = 8192;
const randomBytes = 16;
const lengthBytes = 1;

/**
 * Returns the text inside a GitLab routable token, version 01: lines of the form `key:value`. The token is
 * `<prefix><payload>.01.<payload's length><CRC-32 of all before>`, with numbers in base36. The payload is 16 random bytes, this text, and a byte with
 * the text's length. GitLab lets each instance choose its prefix, of base64's characters and `_@:.-`. Null if any of this does not fit.
 */
export function routingText(token: string): string | null {
  if (token.length > MAX_ROUTABLE_CHARACTERS) return null;
  const [, signed = "", prefixed = "", digits = "", checksum = ""] =
    /^(([\w+=/@:.-]+)\.01\.([0-9a-z]{2}))([0-9a-z]{7})$/.exec(token) ?? [];
  if (signed === "" || crc32(signed).toString(36).padStart(checksum.length, "0") !== checksum) return null;
  // A prefix may have any character of a payload, so only the payload's length tells where the payload begins.
  const length = Number.parseInt(digits, 36);
  const payload = length > prefixed.length ? null : decodeBase64url(prefixed.slice(prefixed.length - length));
  const text = payload?.slice(randomBytes, -lengthBytes) ?? null;
  return payload?.charCodeAt(payload.length - lengthBytes) === text?.length ? text : null;
}

/** Returns the cell of a CI job token, which is in claim `c`. The token is `glcbt-<JWT>`, perhaps with an instance's own prefix before it. */
function cellOfCiToken(token: string): string | null {
  const mark = "glcbt-";
  const at = token.indexOf(mark);
  if (at < 0 || !/^([\w+=/@:.-]*-)?$/.test(token.slice(0, at))) return null;
  const jwt = token.slice(at + mark.length);
  const cell = isCompactJwt(jwt) ? claimsOf(jwt)?.["c"] : null;
  return typeof cell === "string" ? cell : null;
}

function decodeBase64url(text: string): string | null {
  try {
    return atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    return null;
  }
}

/** Returns the CRC-32 of an ASCII text (ISO 3309), as zlib computes it. */
function crc32(text: string): number {
  let crc = 0xffffffff;
  for (let index = 0; index < text.length; index += 1) {
    crc ^= text.charCodeAt(index);
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
