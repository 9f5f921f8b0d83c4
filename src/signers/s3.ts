import * as v from "valibot";
import { hex, utf8 } from "../lib/bytes.ts";
import { bucketEntries, bucketOrigin, endpoint, objectPath } from "./bucket.ts";
import { encodeQuery } from "./encode.ts";
import { defineSigner, secretEntries } from "./signer.ts";
import { located, sealed, storeConfig } from "./store.ts";
import { lifeSeconds } from "./window.ts";

const config = storeConfig("s3", {
  ...located,
  ...bucketEntries,
  endpoint,
  region: v.pipe(v.string(), v.nonEmpty()),
  credentials: sealed,
});
const secret = v.object({
  ...secretEntries,
  accessKeyId: v.pipe(v.string(), v.nonEmpty()),
  secretAccessKey: v.pipe(v.string(), v.nonEmpty()),
  sessionToken: v.optional(v.pipe(v.string(), v.nonEmpty())),
});

/**
 * AWS Signature Version 4 in the query, for S3 and all that speaks it: R2 (region `auto`), MinIO, Ceph, versitygw.
 * AWS: "Authenticating Requests: Using Query Parameters". The path is escaped once, as S3 alone wants it.
 */
export const s3 = defineSigner({
  config,
  secret,
  target: ({ bucket }) => bucket,
  origin: bucketOrigin,
  sign: async ({ method, key, config: store, secret: credentials, window, attribution }) => {
    const { accessKeyId, secretAccessKey, sessionToken } = credentials;
    const origin = bucketOrigin(store);
    const path = objectPath(store, key);
    const dateTime = window.issuedAt.toISOString().replace(/[:-]|\.\d{3}/g, "");
    const scope = `${dateTime.slice(0, 8)}/${store.region}/s3/aws4_request`;
    const parameters: [string, string][] = [
      ["X-Amz-Algorithm", "AWS4-HMAC-SHA256"],
      ["X-Amz-Credential", `${accessKeyId}/${scope}`],
      ["X-Amz-Date", dateTime],
      ["X-Amz-Expires", String(lifeSeconds(window))],
      ...(sessionToken === undefined ? [] : [["X-Amz-Security-Token", sessionToken] satisfies [string, string]]),
      ["X-Amz-SignedHeaders", "host"],
      ...attribution.map(([name, value]) => [`x-${name}`, value] satisfies [string, string]),
    ];
    const query = encodeQuery(parameters);
    const host = `host:${new URL(origin).host}`;
    const canonicalRequest = [method, path, query, host, "", "host", "UNSIGNED-PAYLOAD"].join("\n");
    const digest = hex(await crypto.subtle.digest("SHA-256", utf8(canonicalRequest)));
    const signingKey = await deriveKey(secretAccessKey, scope);
    const signature = await hmac(signingKey, ["AWS4-HMAC-SHA256", dateTime, scope, digest].join("\n"));
    return `${origin}${path}?${query}&X-Amz-Signature=${hex(signature)}`;
  },
});

async function deriveKey(secretAccessKey: string, scope: string): Promise<ArrayBuffer> {
  let key: ArrayBuffer = utf8(`AWS4${secretAccessKey}`).buffer;
  for (const part of scope.split("/")) key = await hmac(key, part);
  return key;
}

async function hmac(key: ArrayBuffer, text: string): Promise<ArrayBuffer> {
  const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return crypto.subtle.sign("HMAC", imported, utf8(text));
}
