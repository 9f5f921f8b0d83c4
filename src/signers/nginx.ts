import { md5 } from "@noble/hashes/legacy.js";
import * as v from "valibot";
import { base64url, utf8 } from "../lib/bytes.ts";
import { cdnUrl, withParameter } from "./encode.ts";
import { importHmac } from "./keys.ts";
import { defineSigner, secretEntries } from "./signer.ts";
import { atBaseUrl, cdnEntries, nonEmpty, parameterName, sealed, storeConfig } from "./store.ts";
import { epochSeconds } from "./window.ts";

/**
 * nginx: `secure_link` with MD5, which stands in every nginx; or an HMAC that njs, lua or set-misc checks. What is signed is the
 * server's own expression, of `$uri` (which nginx has unescaped), `$expires` and for MD5 the `$secret`.
 */
export const nginx = defineSigner({
  config: v.pipe(
    storeConfig("nginx", {
      ...cdnEntries,
      algorithm: v.optional(v.picklist(["md5", "hmac-sha256"]), "md5"),
      /** By default `$expires$uri $secret` for MD5, as nginx's manual has it, and `$uri$expires` for HMAC. */
      expression: v.optional(v.pipe(v.string(), v.includes("$uri"), v.includes("$expires"))),
      signatureParameter: v.optional(parameterName, "md5"),
      expiresParameter: v.optional(parameterName, "expires"),
      credentials: sealed,
    }),
    v.check(
      ({ algorithm, expression }) => algorithm !== "md5" || (expression ?? "$secret").includes("$secret"),
      "an expression with $secret: MD5 alone proves nothing",
    ),
  ),
  secret: v.object({ ...secretEntries, secret: nonEmpty }),
  ...atBaseUrl,
  sign: async ({ key, config, secret: { secret }, window, attribution }) => {
    const { algorithm, signatureParameter, expiresParameter } = config;
    const expires = String(epochSeconds(window.expiresAt));
    const values: Readonly<Record<string, string>> = { uri: `/${key}`, expires, secret };
    const expression = config.expression ?? (algorithm === "md5" ? "$expires$uri $secret" : "$uri$expires");
    const signed = utf8(expression.replace(/\$(uri|expires|secret)/g, (_, name: string) => values[name] ?? ""));
    const signature = algorithm === "md5" ? md5(signed) : await hmac(secret, signed);
    const url = withParameter(cdnUrl(config.baseUrl, key, attribution), signatureParameter, base64url(signature));
    return withParameter(url, expiresParameter, expires);
  },
});

const hmac = async (secret: string, text: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer> =>
  crypto.subtle.sign("HMAC", await importHmac("SHA-256", utf8(secret)), text);
