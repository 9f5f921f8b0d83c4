import { cdnUrl } from "./encode.ts";
import { defineSigner } from "./signer.ts";
import { atBaseUrl, cdnEntries, storeConfig } from "./store.ts";

/** A bucket or mirror that anyone may read, so its URLs have no signature. Blobs of private repositories must not be in it. */
export const publicStore = defineSigner({
  config: storeConfig("public", cdnEntries),
  secret: null,
  ...atBaseUrl,
  textToSign: () => null,
  sign: async ({ key, config: { baseUrl }, attribution }) => cdnUrl(baseUrl, key, attribution),
});
