import * as v from "valibot";

/** One store's part of the answer: a store that redirects by itself has no URL of ours. */
const probedStore = v.union([
  v.strictObject({
    store: v.number(),
    scheme: v.string(),
    urls: v.strictObject({ GET: v.pipe(v.string(), v.url()), HEAD: v.pipe(v.string(), v.url()) }),
  }),
  v.strictObject({ store: v.number(), scheme: v.string(), error: v.string() }),
  v.strictObject({ store: v.number(), scheme: v.literal("pod"), redirectsByItself: v.literal(true) }),
]);

/** What `/-/probe` answers. `revision` says which record was read: the edge's caches may be half a minute behind KV. */
export const probed = v.strictObject({
  pod: v.string(),
  revision: v.number(),
  repository: v.string(),
  digest: v.string(),
  stores: v.array(probedStore),
});

export type ProbedStore = v.InferOutput<typeof probedStore>;
export type Probed = v.InferOutput<typeof probed>;
