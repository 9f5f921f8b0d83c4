import * as v from "valibot";
import { base64url, utf8 } from "../lib/bytes.ts";
import { cdnUrl, encodePath, encodeQuery, type Parameter } from "./encode.ts";
import { textHmacKey } from "./keys.ts";
import { defineSigner, secretEntries } from "./signer.ts";
import { atBaseUrl, cdnEntries, sealed, storeConfig } from "./store.ts";
import { epochSeconds } from "./window.ts";

/**
 * The HMAC form of bunny.net's CDN token authentication. The signature also covers the attribution parameters, unescaped in the signed text and
 * escaped in the URL.
 */
export const bunny = defineSigner({
  config: storeConfig("bunny", { ...cdnEntries, credentials: sealed }),
  secret: v.objectAsync({ ...secretEntries, key: textHmacKey("SHA-256") }),
  ...atBaseUrl,
  textToSign: ({ key, window, attribution }) => {
    const parameters = sorted(attribution).map(([name, value]) => `${name}=${value}`);
    return `${encodePath(`/${key}`)}${epochSeconds(window.expiresAt)}${parameters.join("&")}`;
  },
  sign: async ({ key, config: { baseUrl }, secret, window, attribution }, text) => {
    const mac = await crypto.subtle.sign("HMAC", secret.key, utf8(text));
    const sent = attribution.length === 0 ? "" : `&${encodeQuery(sorted(attribution))}`;
    return `${cdnUrl(baseUrl, key, [])}?token=HS256-${base64url(mac)}${sent}&expires=${epochSeconds(window.expiresAt)}`;
  },
});

const sorted = (parameters: readonly Parameter[]): readonly Parameter[] =>
  parameters.toSorted(([one], [other]) => (one < other ? -1 : 1));
