import { randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";
import { SignJWT } from "jose";

/** A routable token of version 01, as GitLab makes them. It uses Node's own base64 and CRC, not the code under test. */
export function routableToken(prefix: string, routing: string): string {
  const text = Buffer.from(routing);
  const payload = Buffer.concat([randomBytes(16), text, Buffer.of(text.length)]).toString("base64url");
  const signed = `${prefix}${payload}.01.${payload.length.toString(36).padStart(2, "0")}`;
  return signed + crc32(signed).toString(36).padStart(7, "0");
}

/** A CI job token with these claims. The edge reads the claims and does not verify the signature, so any key will do. */
export const jobToken = async (claims: Readonly<Record<string, unknown>>, prefix = "glcbt-"): Promise<string> =>
  prefix + (await new SignJWT(claims).setProtectedHeader({ alg: "HS256" }).sign(new Uint8Array(32)));
