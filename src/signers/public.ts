import { encodePath, encodeQuery } from "./encode.ts";
import { defineSigner } from "./signer.ts";
import { located, originUrl, storeConfig } from "./store.ts";

/** A bucket or mirror that anyone may read: no signature, and no secret. Blobs of private repositories have no place there. */
export const publicStore = defineSigner({
  config: storeConfig("public", { ...located, baseUrl: originUrl }),
  secret: null,
  target: ({ baseUrl }) => baseUrl,
  origin: ({ baseUrl }) => baseUrl,
  sign: async ({ key, config: { baseUrl }, attribution }) => {
    const url = `${baseUrl}${encodePath(`/${key}`)}`;
    return attribution.length === 0 ? url : `${url}?${encodeQuery(attribution)}`;
  },
});
