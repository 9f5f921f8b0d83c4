import * as v from "valibot";
import { hex, utf8 } from "../lib/bytes.ts";
import { cdnUrl, encodePath, withParameter } from "./encode.ts";
import { hexHmacKey } from "./keys.ts";
import { defineSigner, secretEntries } from "./signer.ts";
import { atBaseUrl, cdnEntries, nonEmpty, parameterName, sealed, storeConfig } from "./store.ts";
import { epochSeconds, type UrlWindow } from "./window.ts";

/**
 * Akamai Auth Token 2.0 as a query parameter. The token's `acl` is the path of a blob, without the query. So the operator must set Akamai to ignore
 * the query when it checks the token.
 */
export const akamai = defineSigner({
  config: storeConfig("akamai", {
    ...cdnEntries,
    parameter: v.optional(parameterName, "__token__"),
    credentials: sealed,
  }),
  secret: v.objectAsync({ ...secretEntries, key: hexHmacKey, salt: v.optional(nonEmpty) }),
  ...atBaseUrl,
  // The salt is part of the signed text, but not of the URL.
  textToSign: ({ key, secret, window }) =>
    secret.salt === undefined ? tokenOf(key, window) : `${tokenOf(key, window)}~salt=${secret.salt}`,
  sign: async ({ key, config, secret, window, attribution }, text) => {
    const hmac = hex(await crypto.subtle.sign("HMAC", secret.key, utf8(text)));
    const token = `${tokenOf(key, window)}~hmac=${hmac}`;
    return withParameter(cdnUrl(config.baseUrl, key, attribution), config.parameter, token);
  },
});

const tokenOf = (key: string, window: UrlWindow): string => `exp=${epochSeconds(window.expiresAt)}~acl=${aclOf(key)}`;

/**
 * Returns the escaped path. In an acl, `*`, `?` and `!` have a meaning, and their escaped forms do not. A `~` would end the acl, so we write the
 * wildcard `?` for it, which matches any one character.
 */
const aclOf = (key: string): string => encodePath(`/${key}`).replaceAll("~", "?");
