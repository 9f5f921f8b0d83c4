import * as v from "valibot";
import { paddedBase64url, utf8 } from "../lib/bytes.ts";
import { cdnUrl, encodeQuery } from "./encode.ts";
import { base64HmacKey } from "./keys.ts";
import { defineSigner, type SignRequest, secretEntries } from "./signer.ts";
import { atBaseUrl, cdnEntries, nonEmpty, sealed, storeConfig } from "./store.ts";
import { epochSeconds } from "./window.ts";

/** How Cloud CDN and Media CDN are told what is signed: the URL itself, or a prefix beside it (here always one blob's whole URL). */
const signedForm = v.optional(v.picklist(["url", "prefix"]), "url");

/** Google Cloud CDN signed URLs. Unsigned requests pass the CDN, so the bucket behind it must be private. */
export const googleCdn = defineSigner({
  config: storeConfig("google-cdn", { ...cdnEntries, form: signedForm, credentials: sealed }),
  secret: v.objectAsync({ ...secretEntries, keyName: nonEmpty, key: base64HmacKey("SHA-1") }),
  ...atBaseUrl,
  sign: (request) =>
    googleSignedUrl(request, request.config.form, (text) => crypto.subtle.sign("HMAC", request.secret.key, text)),
});

/** Parameters of one's own come first in a signed URL, for they are signed; beside a signed prefix they come last. */
export async function googleSignedUrl(
  { key, config, secret, window, attribution }: SignRequest<{ readonly baseUrl: string }, { readonly keyName: string }>,
  form: "url" | "prefix",
  sign: (text: Uint8Array<ArrayBuffer>) => Promise<ArrayBuffer>,
): Promise<string> {
  const ends = `Expires=${epochSeconds(window.expiresAt)}&KeyName=${secret.keyName}`;
  const signature = async (text: string) => `${text}&Signature=${paddedBase64url(await sign(utf8(text)))}`;
  if (form === "url") {
    const url = cdnUrl(config.baseUrl, key, attribution);
    return signature(`${url}${attribution.length === 0 ? "?" : "&"}${ends}`);
  }
  const url = cdnUrl(config.baseUrl, key, []);
  const signed = await signature(`URLPrefix=${paddedBase64url(utf8(url))}&${ends}`);
  return `${url}?${signed}${attribution.length === 0 ? "" : `&${encodeQuery(attribution)}`}`;
}
