import * as v from "valibot";
import type { Parameter } from "./encode.ts";
import { defineSigner, type SignRequest, secretEntries } from "./signer.ts";
import { canonicalRequest, type PresignRequest, presign, scopedHmac } from "./sigv4.ts";
import {
  bucketEntries,
  bucketOrigin,
  hasBucketOrigin,
  located,
  nonEmpty,
  objectPath,
  originUrl,
  sealed,
  storeConfig,
} from "./store.ts";

export const accessKey = v.pipe(
  v.object({
    ...secretEntries,
    accessKeyId: nonEmpty,
    secretAccessKey: nonEmpty,
    sessionToken: v.optional(nonEmpty),
  }),
  v.check(({ sessionToken, expiresAt }) => !sessionToken || !!expiresAt, "`expiresAt` beside `sessionToken`"),
);

const config = v.pipe(
  storeConfig("s3", {
    ...located,
    ...bucketEntries,
    endpoint: originUrl,
    region: nonEmpty,
    credentials: sealed,
  }),
  hasBucketOrigin(),
);

/** AWS Signature Version 4 in the query, for S3 and all stores with S3's protocol: R2 (region `auto`), MinIO, Ceph, versitygw. */
export const s3 = defineSigner({
  config,
  secret: accessKey,
  target: ({ bucket }) => bucket,
  origin: bucketOrigin,
  textToSign: (request) => canonicalRequest(presignRequest(request)),
  sign: (request, text) => {
    const { secret, dayKeys } = request;
    return presign(
      presignRequest(request),
      text,
      scopedHmac({ start: `AWS4${secret.secretAccessKey}`, secret, dayKeys }),
    );
  },
});

type Request = SignRequest<v.InferOutput<typeof config>, v.InferOutput<typeof accessKey>>;

function presignRequest({ method, key, config: store, secret, window, attribution }: Request): PresignRequest {
  const origin = bucketOrigin(store);
  return {
    method,
    origin,
    path: objectPath(store, key),
    host: new URL(origin).host,
    vendor: "X-Amz",
    algorithm: "AWS4-HMAC-SHA256",
    accessKeyId: secret.accessKeyId,
    service: `${store.region}/s3/aws4_request`,
    window,
    parameters: [...sessionParameters(secret), ...loggedParameters(attribution)],
  };
}

export const sessionParameters = ({ sessionToken }: { readonly sessionToken?: string | undefined }): Parameter[] =>
  sessionToken === undefined ? [] : [["X-Amz-Security-Token", sessionToken]];

/** S3 ignores query parameters whose names begin with `x-`, but writes them to its access log. */
export const loggedParameters = (attribution: readonly Parameter[]): Parameter[] =>
  attribution.map(([name, value]) => [`x-${name}`, value]);
