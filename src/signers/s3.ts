import * as v from "valibot";
import { hex, utf8 } from "../lib/bytes.ts";
import { type Signer, signingWindow } from "./signer.ts";

/** AWS Signature Version 4 in the query, for S3 and all that speaks it: R2 (region `auto`), MinIO, Ceph, versitygw. */
const config = v.strictObject({
  scheme: v.literal("s3"),
  endpoint: v.pipe(v.string(), v.url()),
  region: v.pipe(v.string(), v.nonEmpty()),
  bucket: v.pipe(v.string(), v.regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/)),
  addressing: v.optional(v.picklist(["path", "virtual-host"]), "path"),
  /** The registry's root directory in the bucket, without slashes at its ends. */
  prefix: v.optional(v.pipe(v.string(), v.regex(/^([^/]+(\/[^/]+)*)?$/)), ""),
  credentials: v.pipe(v.string(), v.nonEmpty()),
});
const secret = v.object({
  accessKeyId: v.pipe(v.string(), v.nonEmpty()),
  secretAccessKey: v.pipe(v.string(), v.nonEmpty()),
  sessionToken: v.optional(v.pipe(v.string(), v.nonEmpty())),
});

export type S3Config = v.InferOutput<typeof config>;
export type S3Secret = v.InferOutput<typeof secret>;

export const s3: Signer<S3Config, S3Secret> = {
  config,
  secret,
  target: ({ bucket }) => bucket,
  sign: ({ method, key, config: store, secret: credentials, now }) => {
    const { issuedAt, lifeSeconds } = signingWindow(now);
    const object = store.prefix === "" ? key : `${store.prefix}/${key}`;
    const endpoint = new URL(store.endpoint);
    const host = store.addressing === "path" ? endpoint.host : `${store.bucket}.${endpoint.host}`;
    const path = store.addressing === "path" ? `/${store.bucket}/${object}` : `/${object}`;
    return presign({
      method,
      protocol: endpoint.protocol,
      host,
      path,
      region: store.region,
      credentials,
      issuedAt,
      lifeSeconds,
    });
  },
};

export type PresignRequest = {
  readonly method: string;
  readonly protocol: string;
  readonly host: string;
  readonly path: string;
  readonly region: string;
  readonly credentials: S3Secret;
  readonly issuedAt: Date;
  readonly lifeSeconds: number;
};

/** AWS: "Authenticating Requests: Using Query Parameters". The path is percent-encoded once, as S3 alone wants it. */
export async function presign(request: PresignRequest): Promise<string> {
  const dateTime = request.issuedAt.toISOString().replace(/[:-]|\.\d{3}/g, "");
  const scope = `${dateTime.slice(0, 8)}/${request.region}/s3/aws4_request`;
  const path = request.path.split("/").map(encode).join("/");
  const query = canonicalQuery(request, dateTime, scope);
  const canonicalRequest = [request.method, path, query, `host:${request.host}`, "", "host", "UNSIGNED-PAYLOAD"].join(
    "\n",
  );
  const digest = hex(await crypto.subtle.digest("SHA-256", utf8(canonicalRequest)));
  const key = await signingKey(request.credentials.secretAccessKey, scope);
  const signature = await hmac(key, ["AWS4-HMAC-SHA256", dateTime, scope, digest].join("\n"));
  return `${request.protocol}//${request.host}${path}?${query}&X-Amz-Signature=${hex(signature)}`;
}

function canonicalQuery(request: PresignRequest, dateTime: string, scope: string): string {
  const { accessKeyId, sessionToken } = request.credentials;
  const parameters: [string, string][] = [
    ["X-Amz-Algorithm", "AWS4-HMAC-SHA256"],
    ["X-Amz-Credential", `${accessKeyId}/${scope}`],
    ["X-Amz-Date", dateTime],
    ["X-Amz-Expires", String(request.lifeSeconds)],
    ...(sessionToken === undefined ? [] : [["X-Amz-Security-Token", sessionToken] satisfies [string, string]]),
    ["X-Amz-SignedHeaders", "host"],
  ];
  return parameters.map(([name, value]) => `${name}=${encode(value)}`).join("&");
}

/** RFC 3986 §2.3: all but the unreserved characters are escaped, in upper-case hex. */
const encode = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);

async function signingKey(secretAccessKey: string, scope: string): Promise<ArrayBuffer> {
  let key: ArrayBuffer = utf8(`AWS4${secretAccessKey}`).buffer;
  for (const part of scope.split("/")) key = await hmac(key, part);
  return key;
}

async function hmac(key: ArrayBuffer, text: string): Promise<ArrayBuffer> {
  const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return crypto.subtle.sign("HMAC", imported, utf8(text));
}
