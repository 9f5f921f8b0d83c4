import * as v from "valibot";
import { utf8 } from "../lib/bytes.ts";
import { bucketEntries, bucketOrigin, objectPath } from "./bucket.ts";
import { rsaKey } from "./keys.ts";
import { defineSigner, secretEntries } from "./signer.ts";
import { presign, scopedHmac } from "./sigv4.ts";
import { located, nonEmpty, originUrl, sealed, storeConfig } from "./store.ts";

/** A service account's key file, as Google hands it out; or an HMAC key, whose signature costs a hundredth of an RSA one. */
const secret = v.unionAsync([
  v.objectAsync({ ...secretEntries, client_email: nonEmpty, private_key: rsaKey }),
  v.object({ ...secretEntries, accessId: nonEmpty, secret: nonEmpty }),
]);

/** Google Cloud Storage, V4 signing process. */
export const gcs = defineSigner({
  config: storeConfig("gcs", {
    ...located,
    ...bucketEntries,
    endpoint: v.optional(originUrl, "https://storage.googleapis.com"),
    location: v.optional(nonEmpty, "auto"),
    credentials: sealed,
  }),
  secret,
  target: ({ bucket }) => bucket,
  origin: bucketOrigin,
  sign: ({ method, key, config, secret: credentials, window, attribution, dayKeys }) => {
    const origin = bucketOrigin(config);
    const request = {
      method,
      origin,
      path: objectPath(config, key),
      // Google's own vectors sign the host without its port.
      host: new URL(origin).hostname,
      vendor: "X-Goog",
      service: `${config.location}/storage/goog4_request`,
      window,
      // Parameters of this form stand in Cloud Audit Logs.
      parameters: attribution.map(([name, value]) => [`x-goog-custom-audit-${name}`, value] as const),
    };
    if ("accessId" in credentials) {
      const { accessId: accessKeyId, secret: start } = credentials;
      const sign = scopedHmac({ start: `GOOG4${start}`, secret: credentials, dayKeys });
      return presign({ ...request, algorithm: "GOOG4-HMAC-SHA256", accessKeyId }, sign);
    }
    const { client_email: accessKeyId, private_key: privateKey } = credentials;
    return presign({ ...request, algorithm: "GOOG4-RSA-SHA256", accessKeyId }, (text) =>
      crypto.subtle.sign("RSASSA-PKCS1-v1_5", privateKey.sha256, utf8(text)),
    );
  },
});
