import { hex, utf8 } from "../lib/bytes.ts";
import { encodeQuery, type Parameter } from "./encode.ts";
import { importHmac } from "./keys.ts";
import { lifeSeconds, type UrlWindow } from "./window.ts";

export type PresignRequest = {
  readonly method: string;
  readonly origin: string;
  /** The escaped path. */
  readonly path: string;
  /** The value of `host`, the only header that is signed. */
  readonly host: string;
  /** The beginning of the query's parameter names: `X-Amz` or `X-Goog`. */
  readonly vendor: string;
  readonly algorithm: string;
  readonly accessKeyId: string;
  /** The part of the credential scope after the date, as in `us-east-1/s3/aws4_request`. */
  readonly service: string;
  readonly window: UrlWindow;
  readonly parameters: readonly Parameter[];
};

/*
 * AWS and Google share one form of presigned URL (AWS: "Authenticating Requests: Using Query Parameters"; Google: "V4 signing process"). S3 and
 * Google want the path escaped once; the other services of AWS want it escaped twice.
 */

const dateTimeOf = ({ window }: PresignRequest): string => window.issuedAt.toISOString().replace(/[:-]|\.\d{3}/g, "");
const scopeOf = (request: PresignRequest): string => `${dateTimeOf(request).slice(0, 8)}/${request.service}`;

function queryOf(request: PresignRequest): string {
  const { vendor } = request;
  const parameters: readonly Parameter[] = [
    [`${vendor}-Algorithm`, request.algorithm],
    [`${vendor}-Credential`, `${request.accessKeyId}/${scopeOf(request)}`],
    [`${vendor}-Date`, dateTimeOf(request)],
    [`${vendor}-Expires`, String(lifeSeconds(request.window))],
    [`${vendor}-SignedHeaders`, "host"],
    ...request.parameters,
  ];
  return encodeQuery(parameters.toSorted(([one], [other]) => (one < other ? -1 : 1)));
}

export const canonicalRequest = (request: PresignRequest): string =>
  [request.method, request.path, queryOf(request), `host:${request.host}`, "", "host", "UNSIGNED-PAYLOAD"].join("\n");

export async function stringToSign(request: PresignRequest, canonical: string): Promise<string> {
  const digest = hex(await crypto.subtle.digest("SHA-256", utf8(canonical)));
  return [request.algorithm, dateTimeOf(request), scopeOf(request), digest].join("\n");
}

/** `canonical` is the {@link canonicalRequest} of `request`. */
export async function presign(
  request: PresignRequest,
  canonical: string,
  sign: (text: string, scope: string) => Promise<ArrayBuffer | Uint8Array>,
): Promise<string> {
  const { origin, path, vendor } = request;
  const signature = await sign(await stringToSign(request, canonical), scopeOf(request));
  return `${origin}${path}?${queryOf(request)}&${vendor}-Signature=${hex(signature)}`;
}

/**
 * The latest signing key of each secret. A signing key is valid for one day. We keep it because the four HMACs that derive it are most of the work of
 * a signature.
 */
export type DayKeys = WeakMap<object, { readonly scope: string; readonly key: CryptoKey }>;

type KeyChain = {
  /** The vendor's prefix and the secret key, as in `AWS4<secret key>`. */
  readonly start: string;
  /** The parsed secret that `start` is made from. `dayKeys` maps this object to the signing key. */
  readonly secret: object;
  readonly dayKeys: DayKeys;
};

/** The signing key is derived from `start`, by one HMAC for each part of the credential scope. */
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
