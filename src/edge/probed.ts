import * as v from "valibot";

const signedUrl = v.pipe(v.string(), v.url());

/** One store's part of the answer. */
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

/** podctl checks the gateway with this push location. Nothing can be read or written by it: it names no real upload and contains no token. */
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
  /** Why the edge cannot send the secret of `trust`. Without the secret, the edge sends no request to the registry. Missing if there is no fault. */
  trust: v.optional(v.strictObject({ error: v.string() })),
});

export type ProbedStore = v.InferOutput<typeof probedStore>;
export type Probed = v.InferOutput<typeof probed>;
