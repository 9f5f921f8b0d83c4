import { hex, utf8 } from "../lib/bytes.ts";
import { encodeQuery, type Parameter } from "./encode.ts";
import { importHmac } from "./keys.ts";
import { lifeSeconds, type UrlWindow } from "./window.ts";

export type PresignRequest = {
  readonly method: string;
  readonly origin: string;
  /** As it stands in the URL. */
  readonly path: string;
  /** The value of the one signed header. */
  readonly host: string;
  /** `X-Amz` or `X-Goog`. */
  readonly vendor: string;
  readonly algorithm: string;
  readonly accessKeyId: string;
  /** What follows the date in the credential scope. */
  readonly service: string;
  readonly window: UrlWindow;
  readonly parameters: readonly Parameter[];
};

/**
 * A presigned URL in the form that AWS and Google share (AWS: "Authenticating Requests: Using Query Parameters"; Google: "V4 signing
 * process"). The path is escaped once, as storage alone wants it.
 */
export async function presign(
  request: PresignRequest,
  sign: (stringToSign: string, scope: string) => Promise<ArrayBuffer | Uint8Array>,
): Promise<string> {
  const { method, origin, path, host, vendor, algorithm, window } = request;
  const dateTime = window.issuedAt.toISOString().replace(/[:-]|\.\d{3}/g, "");
  const scope = `${dateTime.slice(0, 8)}/${request.service}`;
  const parameters: readonly Parameter[] = [
    [`${vendor}-Algorithm`, algorithm],
    [`${vendor}-Credential`, `${request.accessKeyId}/${scope}`],
    [`${vendor}-Date`, dateTime],
    [`${vendor}-Expires`, String(lifeSeconds(window))],
    [`${vendor}-SignedHeaders`, "host"],
    ...request.parameters,
  ];
  const query = encodeQuery(parameters.toSorted(([one], [other]) => (one < other ? -1 : 1)));
  const canonicalRequest = [method, path, query, `host:${host}`, "", "host", "UNSIGNED-PAYLOAD"].join("\n");
  const digest = hex(await crypto.subtle.digest("SHA-256", utf8(canonicalRequest)));
  const signature = await sign([algorithm, dateTime, scope, digest].join("\n"), scope);
  return `${origin}${path}?${query}&${vendor}-Signature=${hex(signature)}`;
}

/**
 * The signing key of each secret for the last day it signed on, because its four HMACs are most of the work of a signature. The caller owns
 * the map; an entry goes with its secret.
 */
export type DayKeys = WeakMap<object, { readonly scope: string; readonly key: CryptoKey }>;

type KeyChain = {
  /** The vendor's prefix and the secret key. */
  readonly start: string;
  /** What `dayKeys` remembers the key by. */
  readonly secret: object;
  readonly dayKeys: DayKeys;
};

/** Signs with the key that is chained from `start` over the parts of the credential scope. */
export const scopedHmac =
  ({ start, secret, dayKeys }: KeyChain) =>
  async (text: string, scope: string): Promise<ArrayBuffer> => {
    const known = dayKeys.get(secret);
    if (known?.scope === scope) return hmac(known.key, text);
    let key = await importHmac("SHA-256", utf8(start));
    for (const part of scope.split("/")) key = await importHmac("SHA-256", new Uint8Array(await hmac(key, part)));
    dayKeys.set(secret, { scope, key });
    return hmac(key, text);
  };

const hmac = (key: CryptoKey, text: string): Promise<ArrayBuffer> => crypto.subtle.sign("HMAC", key, utf8(text));
