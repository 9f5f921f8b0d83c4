import * as v from "valibot";
import { base64, base64url, utf8 } from "../lib/bytes.ts";
import { cdnUrl, encodeComponent, withParameter } from "./encode.ts";
import { textHmacKey } from "./keys.ts";
import { defineSigner, secretEntries } from "./signer.ts";
import { atBaseUrl, cdnEntries, parameterName, sealed, storeConfig } from "./store.ts";
import { epochSeconds } from "./window.ts";

/**
 * Token authentication by a rule of Cloudflare's WAF: `is_timed_hmac_valid_v0` over path and query. The rule adds its `ttl` to the time in the token,
 * so we write the URL's expiry minus `ttlSeconds` as this time.
 */
export const cloudflare = defineSigner({
  config: storeConfig("cloudflare", {
    ...cdnEntries,
    /** The name of the query parameter that contains the token. In the WAF rule, `lengthOfSeparator` must be the length of `?<parameter>=`. */
    parameter: v.optional(parameterName, "verify"),
    /** The `ttl` that is written in the WAF rule. */
    ttlSeconds: v.pipe(v.number(), v.integer(), v.minValue(1)),
    /** `base64url` if the WAF rule has the flag `s`. */
    encoding: v.optional(v.picklist(["base64", "base64url"]), "base64"),
    credentials: sealed,
  }),
  secret: v.objectAsync({ ...secretEntries, key: textHmacKey("SHA-256") }),
  ...atBaseUrl,
  textToSign: ({ key, config: { ttlSeconds }, window, attribution }) =>
    `${cdnUrl("", key, attribution)}${epochSeconds(window.expiresAt) - ttlSeconds}`,
  sign: async ({ key, config, secret, window, attribution }, text) => {
    const { baseUrl, parameter, ttlSeconds, encoding } = config;
    const mac = await crypto.subtle.sign("HMAC", secret.key, utf8(text));
    const encoded = encoding === "base64url" ? base64url(mac) : encodeComponent(base64(mac));
    // The token is the last parameter. Cloudflare's rule does not check what follows the token, so anyone could change a parameter there.
    const token = `${epochSeconds(window.expiresAt) - ttlSeconds}-${encoded}`;
    return withParameter(cdnUrl(baseUrl, key, attribution), parameter, token);
  },
});
