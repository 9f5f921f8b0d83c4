import * as v from "valibot";
import { paddedBase64url, utf8 } from "../lib/bytes.ts";
import { cdnUrl, encodeQuery } from "./encode.ts";
import { base64HmacKey } from "./keys.ts";
import { defineSigner, type SignRequest, secretEntries } from "./signer.ts";
import { atBaseUrl, cdnEntries, nonEmpty, sealed, storeConfig } from "./store.ts";
import { epochSeconds } from "./window.ts";

/** What is signed. `url`: the URL itself. `prefix`: a prefix of URLs, which is sent in a query parameter. Our prefix is the whole URL of one blob. */
const signedForm = v.optional(v.picklist(["url", "prefix"]), "url");

/** Google Cloud CDN signed URLs. The bucket behind the CDN must be private, because the CDN passes unsigned requests on to it. */
export const googleCdn = defineSigner({
  config: storeConfig("google-cdn", { ...cdnEntries, form: signedForm, credentials: sealed }),
  secret: v.objectAsync({ ...secretEntries, keyName: nonEmpty, key: base64HmacKey("SHA-1") }),
  ...atBaseUrl,
  textToSign: (request) => googleText(request, request.config.form),
  sign: async (request, text) => {
    const mac = await crypto.subtle.sign("HMAC", request.secret.key, utf8(text));
    return googleUrl(request, request.config.form, `${text}&Signature=${paddedBase64url(mac)}`);
  },
});

type Request = SignRequest<{ readonly baseUrl: string }, { readonly keyName: string }>;

/** Returns the text to sign. The text has the attribution (parameters that name the repository) only in the form `url`. */
export function googleText({ key, config, secret, window, attribution }: Request, form: "url" | "prefix"): string {
  const ends = `Expires=${epochSeconds(window.expiresAt)}&KeyName=${secret.keyName}`;
  if (form === "prefix") return `URLPrefix=${paddedBase64url(utf8(cdnUrl(config.baseUrl, key, [])))}&${ends}`;
  return `${cdnUrl(config.baseUrl, key, attribution)}${attribution.length === 0 ? "?" : "&"}${ends}`;
}

/** `signed` is the text to sign, followed by its signature. In the form `url`, this is already the whole URL. */
export function googleUrl({ key, config, attribution }: Request, form: "url" | "prefix", signed: string): string {
  if (form === "url") return signed;
  const unsigned = attribution.length === 0 ? "" : `&${encodeQuery(attribution)}`;
  return `${cdnUrl(config.baseUrl, key, [])}?${signed}${unsigned}`;
}
