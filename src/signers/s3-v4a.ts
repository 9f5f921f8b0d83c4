import * as v from "valibot";
import { concatBytes, hex, parseHex, utf8 } from "../lib/bytes.ts";
import { ecdsaSignature, pkcs8, sec1 } from "./der.ts";
import { encodePath } from "./encode.ts";
import { importHmac, importP256 } from "./keys.ts";
import { accessKey, loggedParameters, sessionParameters } from "./s3.ts";
import { defineSigner, type SignRequest } from "./signer.ts";
import { canonicalRequest, type PresignRequest, presign } from "./sigv4.ts";
import { located, nonEmpty, originUrl, sealed, storeConfig } from "./store.ts";

const algorithm = "AWS4-ECDSA-P256-SHA256";

const config = storeConfig("s3-v4a", {
  ...located,
  /** `https://<alias>.accesspoint.s3-global.amazonaws.com` */
  endpoint: originUrl,
  /** The names of the regions that may answer, joined by commas. A `*` in a name matches any text. */
  regionSet: v.optional(nonEmpty, "*"),
  credentials: sealed,
});

/** AWS Signature Version 4A. One signature is good for several regions, as S3's Multi-Region Access Points require. */
export const s3V4a = defineSigner({
  config,
  secret: v.pipeAsync(
    accessKey,
    v.transformAsync(async (secret) => ({ ...secret, key: await deriveKey(secret) })),
  ),
  target: ({ endpoint }) => endpoint,
  origin: ({ endpoint }) => endpoint,
  textToSign: (request) => canonicalRequest(presignRequest(request)),
  sign: (request, canonical) =>
    presign(presignRequest(request), canonical, async (text) =>
      ecdsaSignature(await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, request.secret.key, utf8(text))),
    ),
});

type Request = SignRequest<v.InferOutput<typeof config>, v.InferOutput<typeof accessKey>>;

const presignRequest = ({ method, key, config: store, secret, window, attribution }: Request): PresignRequest => ({
  method,
  origin: store.endpoint,
  path: encodePath(`/${key}`),
  host: new URL(store.endpoint).host,
  vendor: "X-Amz",
  algorithm,
  accessKeyId: secret.accessKeyId,
  service: "s3/aws4_request",
  window,
  parameters: [["X-Amz-Region-Set", store.regionSet], ...sessionParameters(secret), ...loggedParameters(attribution)],
});

/** The order of P-256 (SEC 2 §2.4.2). */
const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;

/**
 * Derives the P-256 key of an access key (NIST SP 800-108, counter mode). Rarely, the result for a counter is too large for the curve, and the next
 * counter is tried.
 */
async function deriveKey(secret: v.InferOutput<typeof accessKey>): Promise<CryptoKey> {
  const hmacKey = await importHmac("SHA-256", utf8(`AWS4A${secret.secretAccessKey}`));
  for (let counter = 1; counter < 255; counter += 1) {
    const input = concatBytes(
      Uint8Array.of(0, 0, 0, 1),
      utf8(algorithm),
      Uint8Array.of(0),
      utf8(secret.accessKeyId),
      Uint8Array.of(counter, 0, 0, 1, 0),
    );
    const candidate = BigInt(`0x${hex(await crypto.subtle.sign("HMAC", hmacKey, input))}`);
    if (candidate > order - 2n) continue;
    const value = parseHex((candidate + 1n).toString(16).padStart(64, "0"));
    if (value !== null) return importP256(pkcs8("p256", sec1(value)));
  }
  throw new Error("254 tries gave no P-256 key, which cannot happen by chance");
}
