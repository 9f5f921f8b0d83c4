import * as v from "valibot";

const signedUrl = v.pipe(v.string(), v.url());

const probedStore = v.union([
  v.strictObject({
    store: v.number(),
    scheme: v.string(),
    urls: v.strictObject({ GET: signedUrl, HEAD: signedUrl }),
    // An Azure store has its blobs below one of two roots. With a HEAD below the other root, podctl can tell a wrong root from a missing blob.
    otherRoot: v.optional(signedUrl),
  }),
  v.strictObject({ store: v.number(), scheme: v.string(), error: v.string() }),
  v.strictObject({ store: v.number(), scheme: v.literal("pod"), redirectsByItself: v.literal(true) }),
]);

/**
 * With this push location, podctl checks the gateway. The location names no real upload and contains no token, so nothing can be read or written with
 * it.
 */
const probedGateway = v.union([v.strictObject({ location: signedUrl }), v.strictObject({ error: v.string() })]);

/**
 * The answer of `/-/probe`. `revision` tells podctl which revision of the Pod's record the edge has read, because the edge's caches may be half a
 * minute behind KV.
 */
export const probed = v.strictObject({
  pod: v.string(),
  revision: v.number(),
  repository: v.string(),
  digest: v.string(),
  stores: v.array(probedStore),
  gateway: v.optional(probedGateway),
  /** Why the edge cannot send the secret of `trust`. Without this secret, the edge sends no request to the registry. */
  trust: v.optional(v.strictObject({ error: v.string() })),
});

export type ProbedStore = v.InferOutput<typeof probedStore>;
export type Probed = v.InferOutput<typeof probed>;
