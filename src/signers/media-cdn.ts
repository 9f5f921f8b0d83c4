import * as v from "valibot";
import { base64url, paddedBase64url, utf8 } from "../lib/bytes.ts";
import { cdnUrl, encodePath, withParameter } from "./encode.ts";
import { googleText, googleUrl } from "./google-cdn.ts";
import { ed25519Key } from "./keys.ts";
import { defineSigner, type SignRequest, secretEntries } from "./signer.ts";
import { atBaseUrl, cdnEntries, nonEmpty, parameterName, sealed, storeConfig } from "./store.ts";
import { epochSeconds } from "./window.ts";

const config = storeConfig("media-cdn", {
  ...cdnEntries,
  /**
   * `url` and `prefix` have the same meaning as in Cloud CDN (google-cdn.ts), but are signed with Ed25519. `token` is Media CDN's short token, which
   * we make for the path of one blob.
   */
  form: v.optional(v.picklist(["url", "prefix", "token"]), "url"),
  /** The name of the query parameter with the short token: the `tokenQueryParameter` of the Media CDN route. */
  parameter: v.optional(parameterName, "edge-cache-token"),
  credentials: sealed,
});
const secret = v.objectAsync({ ...secretEntries, keyName: nonEmpty, privateKey: ed25519Key });
type Request = SignRequest<v.InferOutput<typeof config>, v.InferOutput<typeof secret>>;

export const mediaCdn = defineSigner({
  config,
  secret,
  ...atBaseUrl,
  textToSign: (request) =>
    request.config.form === "token" ? tokenText(request) : googleText(request, request.config.form),
  sign: async (request, text) => {
    const { key, config: store, secret: credentials, attribution } = request;
    const signature = await crypto.subtle.sign("Ed25519", credentials.privateKey, utf8(text));
    if (store.form !== "token") {
      return googleUrl(request, store.form, `${text}&Signature=${paddedBase64url(signature)}`);
    }
    // The signed text has the path. The token has only the word `FullPath` for it, because Media CDN knows the path from the URL.
    const token = `FullPath~${expiresOf(request)}~Signature=${base64url(signature)}`;
    return withParameter(cdnUrl(store.baseUrl, key, attribution), store.parameter, token);
  },
});

const expiresOf = ({ window }: Request): string => `Expires=${epochSeconds(window.expiresAt)}`;
const tokenText = (request: Request): string => `FullPath=${encodePath(`/${request.key}`)}~${expiresOf(request)}`;
