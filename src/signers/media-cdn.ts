import * as v from "valibot";
import { base64url, utf8 } from "../lib/bytes.ts";
import { cdnUrl, encodePath, withParameter } from "./encode.ts";
import { googleSignedUrl } from "./google-cdn.ts";
import { ed25519Key } from "./keys.ts";
import { defineSigner, type SignRequest, secretEntries } from "./signer.ts";
import { atBaseUrl, cdnEntries, nonEmpty, parameterName, sealed, storeConfig } from "./store.ts";
import { epochSeconds } from "./window.ts";

const config = storeConfig("media-cdn", {
  ...cdnEntries,
  /** `url` and `prefix` as with Cloud CDN, but Ed25519; `token`: the short token, for the blob's path. */
  form: v.optional(v.picklist(["url", "prefix", "token"]), "url"),
  /** The query parameter of the short token, as the route's `tokenQueryParameter` has it. */
  parameter: v.optional(parameterName, "edge-cache-token"),
  credentials: sealed,
});
const secret = v.objectAsync({ ...secretEntries, keyName: nonEmpty, privateKey: ed25519Key });
type Request = SignRequest<v.InferOutput<typeof config>, v.InferOutput<typeof secret>>;

/** Google Media CDN: signed requests with an Ed25519 key, and short tokens. */
export const mediaCdn = defineSigner({
  config,
  secret,
  ...atBaseUrl,
  sign: (request) => {
    const { form } = request.config;
    if (form === "token") return tokenUrl(request);
    return googleSignedUrl(request, form, (text) => crypto.subtle.sign("Ed25519", request.secret.privateKey, text));
  },
});

/** The path is signed, but does not stand in the token. */
async function tokenUrl({ key, config: store, secret: credentials, window, attribution }: Request): Promise<string> {
  const expires = `Expires=${epochSeconds(window.expiresAt)}`;
  const signed = utf8(`FullPath=${encodePath(`/${key}`)}~${expires}`);
  const signature = base64url(await crypto.subtle.sign("Ed25519", credentials.privateKey, signed));
  const url = cdnUrl(store.baseUrl, key, attribution);
  return withParameter(url, store.parameter, `FullPath~${expires}~Signature=${signature}`);
}
