import * as v from "valibot";
import { base64url, utf8 } from "../lib/bytes.ts";
import { cdnUrl, encodePath, encodeQuery } from "./encode.ts";
import { textHmacKey } from "./keys.ts";
import { defineSigner, secretEntries } from "./signer.ts";
import { atBaseUrl, cdnEntries, sealed, storeConfig } from "./store.ts";
import { epochSeconds } from "./window.ts";

/** bunny.net CDN token authentication, its HMAC form. The pull zone's other parameters are signed as they are, and sent escaped. */
export const bunny = defineSigner({
  config: storeConfig("bunny", { ...cdnEntries, credentials: sealed }),
  secret: v.objectAsync({ ...secretEntries, key: textHmacKey("SHA-256") }),
  ...atBaseUrl,
  sign: async ({ key, config: { baseUrl }, secret, window, attribution }) => {
    const expires = epochSeconds(window.expiresAt);
    const parameters = attribution.toSorted(([one], [other]) => (one < other ? -1 : 1));
    const signed = parameters.map(([name, value]) => `${name}=${value}`).join("&");
    const mac = await crypto.subtle.sign("HMAC", secret.key, utf8(`${encodePath(`/${key}`)}${expires}${signed}`));
    const sent = parameters.length === 0 ? "" : `&${encodeQuery(parameters)}`;
    return `${cdnUrl(baseUrl, key, [])}?token=HS256-${base64url(mac)}${sent}&expires=${expires}`;
  },
});
