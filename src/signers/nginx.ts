import { md5 } from "@noble/hashes/legacy.js";
import * as v from "valibot";
import { base64url, utf8 } from "../lib/bytes.ts";
import { cdnUrl, withParameter } from "./encode.ts";
import { importHmac } from "./keys.ts";
import { defineSigner, type SignRequest, secretEntries } from "./signer.ts";
import { atBaseUrl, cdnEntries, nonEmpty, parameterName, sealed, storeConfig } from "./store.ts";
import { epochSeconds } from "./window.ts";

const config = v.pipe(
  storeConfig("nginx", {
    ...cdnEntries,
    algorithm: v.optional(v.picklist(["md5", "hmac-sha256"]), "md5"),
    /**
     * The text that is signed, with nginx's variables. The default is `$expires$uri $secret` for MD5, as in nginx's manual, and `$uri$expires` for
     * HMAC.
     */
    expression: v.optional(v.pipe(v.string(), v.includes("$uri"), v.includes("$expires"))),
    signatureParameter: v.optional(parameterName, "md5"),
    expiresParameter: v.optional(parameterName, "expires"),
    credentials: sealed,
  }),
  v.check(
    ({ algorithm, expression }) => algorithm !== "md5" || (expression ?? "$secret").includes("$secret"),
    "an expression with $secret, because MD5 without a secret proves nothing",
  ),
);
const secretSchema = v.object({ ...secretEntries, secret: nonEmpty });

/**
 * URLs that nginx checks, either by `secure_link` with MD5 or by an HMAC in njs, Lua or set-misc. The signed text is `expression`, which must be the
 * same as in the server's configuration.
 */
export const nginx = defineSigner({
  config,
  secret: secretSchema,
  ...atBaseUrl,
  // podctl shows this text. With MD5, the text that is hashed contains the secret, so we return null.
  textToSign: (request) => (request.config.algorithm === "md5" ? null : expressionOf(request)),
  sign: async (request, text) => {
    const { key, config: store, secret, window, attribution } = request;
    const mac = text === null ? md5(utf8(expressionOf(request))) : await hmac(secret.secret, text);
    const url = cdnUrl(store.baseUrl, key, attribution);
    const signed = withParameter(url, store.signatureParameter, base64url(mac));
    return withParameter(signed, store.expiresParameter, String(epochSeconds(window.expiresAt)));
  },
});

type Request = SignRequest<v.InferOutput<typeof config>, v.InferOutput<typeof secretSchema>>;

function expressionOf({ key, config: store, secret: { secret }, window }: Request): string {
  const expires = String(epochSeconds(window.expiresAt));
  // nginx's `$uri` is the unescaped path.
  const values: Readonly<Record<string, string>> = { uri: `/${key}`, expires, secret };
  const expression = store.expression ?? (store.algorithm === "md5" ? "$expires$uri $secret" : "$uri$expires");
  return expression.replace(/\$(uri|expires|secret)/g, (_, name: string) => values[name] ?? "");
}

const hmac = async (secret: string, text: string): Promise<ArrayBuffer> =>
  crypto.subtle.sign("HMAC", await importHmac("SHA-256", utf8(secret)), utf8(text));
