const encoder = new TextEncoder();

/** TypeScript's type for the result allows shared memory, but a TextEncoder never returns it. */
export const utf8 = (text: string): Uint8Array<ArrayBuffer> => encoder.encode(text) as Uint8Array<ArrayBuffer>;

export function hex(bytes: ArrayBuffer | Uint8Array): string {
  let out = "";
  for (const byte of new Uint8Array(bytes)) out += byte.toString(16).padStart(2, "0");
  return out;
}

/** Encodes as in RFC 4648 §4, with padding. */
export function base64(bytes: ArrayBuffer | Uint8Array): string {
  let binary = "";
  for (const byte of new Uint8Array(bytes)) binary += String.fromCharCode(byte);
  return btoa(binary);
}

/** Encodes as in RFC 4648 §5, without padding. */
export const base64url = (bytes: ArrayBuffer | Uint8Array): string => withoutPadding(paddedBase64url(bytes));

/** Encodes as in RFC 4648 §5, with padding, as Google's CDNs want it. */
export const paddedBase64url = (bytes: ArrayBuffer | Uint8Array): string =>
  base64(bytes).replaceAll("+", "-").replaceAll("/", "_");

/** We do not use `/=+$/`, because it takes quadratic time on a long run of `=` in the middle of a text. */
function withoutPadding(text: string): string {
  let end = text.length;
  while (text[end - 1] === "=") end -= 1;
  return text.slice(0, end);
}

/** Decodes base64 in the ordinary or the URL-safe alphabet, padded or not. Null if the text is not base64. */
export const parseBase64 = (text: string): Uint8Array<ArrayBuffer> | null =>
  parseBase64url(withoutPadding(text.replaceAll("+", "-").replaceAll("/", "_")));

export function parseHex(text: string): Uint8Array<ArrayBuffer> | null {
  if (!/^([0-9a-f]{2})*$/i.test(text)) return null;
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Decodes the output of {@link base64url}. Null if `base64url` would never write this text. */
export function parseBase64url(text: string): Uint8Array<ArrayBuffer> | null {
  if (!/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) return null;
  const bytes = Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
  return base64url(bytes) === text ? bytes : null;
}

/** Whether two secrets are equal. We compare digests, always to the last character, so the time taken does not show where the secrets differ. */
export async function sameSecret(one: string, other: string): Promise<boolean> {
  const digests = [one, other].map((text) => crypto.subtle.digest("SHA-256", utf8(text)));
  const [left = "", right = ""] = (await Promise.all(digests)).map(hex);
  let difference = 0;
  for (let index = 0; index < left.length; index += 1) difference |= left.charCodeAt(index) ^ right.charCodeAt(index);
  return difference === 0;
}
