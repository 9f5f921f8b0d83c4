import { createHash, createHmac } from "node:crypto";

/**
 * AWS Signature Version 4 in the query string, as in S3 (API reference, "Authenticating Requests: Using Query Parameters"). It shares no code with
 * the edge's own signer, so that a fault in one of them shows as a refused URL.
 */
export type SigningCredentials = {
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
};

export const ALGORITHM = "AWS4-HMAC-SHA256";
/** Seven days. S3 refuses URLs that are valid for longer. */
export const MAX_EXPIRES_SECONDS = 604_800;

type CanonicalRequest = {
  readonly method: string;
  /** The decoded path. For S3, unlike for AWS's other services, each segment is encoded only once, and double slashes and dots stay as they are. */
  readonly path: string;
  /** The decoded names and values, without the signature. */
  readonly query: readonly (readonly [string, string])[];
  readonly signedHeaders: readonly (readonly [string, string])[];
};

/** Encodes every character except the unreserved ones of RFC 3986. */
const encode = (text: string): string =>
  encodeURIComponent(text).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
  );

const encodePath = (path: string): string => path.split("/").map(encode).join("/");

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

export function canonicalText({ method, path, query, signedHeaders }: CanonicalRequest): string {
  const parameters = query
    .map(([name, value]) => [encode(name), encode(value)] as const)
    .sort(([nameA, valueA], [nameB, valueB]) => compare(nameA, nameB) || compare(valueA, valueB))
    .map(([name, value]) => `${name}=${value}`);
  const headers = signedHeaders.map(([name, value]) => `${name}:${value.trim().replace(/ +/g, " ")}\n`);
  const names = signedHeaders.map(([name]) => name).join(";");
  return [method, encodePath(path), parameters.join("&"), headers.join(""), names, "UNSIGNED-PAYLOAD"].join("\n");
}

/** Returns the signature in lower-case hex. `amzDate` has the form `yyyymmddThhmmssZ`. */
export function signature(credentials: SigningCredentials, amzDate: string, request: CanonicalRequest): string {
  const hash = createHash("sha256").update(canonicalText(request)).digest("hex");
  const text = [ALGORITHM, amzDate, credentialScope(credentials, amzDate), hash].join("\n");
  const chain = [amzDate.slice(0, 8), credentials.region, "s3", "aws4_request", text];
  return chain
    .reduce((key: Buffer, part) => createHmac("sha256", key).update(part).digest(), secretKey(credentials))
    .toString("hex");
}

const secretKey = ({ secretAccessKey }: SigningCredentials): Buffer => Buffer.from(`AWS4${secretAccessKey}`);

export const credentialScope = ({ region }: SigningCredentials, amzDate: string): string =>
  `${amzDate.slice(0, 8)}/${region}/s3/aws4_request`;

type UrlToSign = {
  readonly method: "GET" | "HEAD" | "PUT" | "DELETE";
  readonly endpoint: string;
  /** The decoded path, with its first slash. */
  readonly path: string;
  readonly expiresSeconds: number;
  readonly now: Date;
};

export function presignedUrl(credentials: SigningCredentials, request: UrlToSign): string {
  const amzDate = `${request.now.toISOString().replace(/[-:]|\.\d+/g, "")}`;
  const endpoint = new URL(request.endpoint);
  const query: (readonly [string, string])[] = [
    ["X-Amz-Algorithm", ALGORITHM],
    ["X-Amz-Credential", `${credentials.accessKeyId}/${credentialScope(credentials, amzDate)}`],
    ["X-Amz-Date", amzDate],
    ["X-Amz-Expires", String(request.expiresSeconds)],
    ["X-Amz-SignedHeaders", "host"],
  ];
  const { method, path } = request;
  const signed = signature(credentials, amzDate, { method, path, query, signedHeaders: [["host", endpoint.host]] });
  const text = [...query, ["X-Amz-Signature", signed] as const].map(([name, value]) => `${name}=${encode(value)}`);
  return `${endpoint.origin}${encodePath(path)}?${text.join("&")}`;
}
