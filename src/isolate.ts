import { createVerifiedTokens, type TokenMemory } from "./auth/verify.ts";
import type { ProofMemory } from "./blobs/proofs.ts";
import { createSigningMemory, type SigningMemory } from "./blobs/sign.ts";
import type { Config } from "./config.ts";
import type { ParsedCidrs } from "./directory/clients.ts";
import type { ParsedPods } from "./directory/directory.ts";
import { KeptEntries } from "./directory/kept-entries.ts";
import { type KvCache, LookupBudget } from "./directory/kv-cache.ts";
import { KvHealth } from "./directory/kv-health.ts";
import type { ParsedRecords } from "./directory/parsed-records.ts";
import type { OpenedSecrets } from "./directory/secrets.ts";
import { BoundedMap } from "./lib/collections.ts";
import { createManifestsMemory, type ManifestsMemory } from "./manifests/manifests.ts";
import { Breaker } from "./net/breaker.ts";
import { RetryBudget } from "./net/retry-budget.ts";

/** Everything that outlives a request. Requests share values, never promises, because a Worker must not await I/O that another request began. */
export type Isolate = {
  /** Null until the first request has parsed it. */
  config: Config | null;
  readonly kv: KvCache;
  readonly parsedPods: ParsedPods;
  readonly parsedRecords: ParsedRecords;
  readonly openedSecrets: OpenedSecrets;
  readonly tokens: TokenMemory;
  readonly proofs: ProofMemory;
  readonly manifests: ManifestsMemory;
  readonly parsedCidrs: ParsedCidrs;
  readonly signing: SigningMemory;
  readonly retries: RetryBudget;
  readonly breaker: Breaker;
};

/**
 * All caches with their bounds. At the usual size of an entry they add up to 63.6 MB of an isolate's 128 MB. A weak map has no bound of its own: each
 * of its entries lives as long as the record that is its key. So when a record changes, every cache must drop the old record.
 * - KV texts: 3.9 MB in `kept` (350 bytes each, and 250 bytes for a missing value), and 5.6 MB in `passing` (400 bytes each, because strangers' names
 *   are long).
 * - Pod records: 5 MB (10 KB each, one for each Pod). Their CIDRs: 3.9 MB (130 bytes each, at most 30,000, which is podctl's limit).
 * - Blocks: 4 MB (400 bytes each with the KV text, at most 10,000). Old names of repositories: 0.3 MB (300 bytes each, at most 1,000).
 * - Assignments: 1 MB (200 bytes each).
 * - Verdicts on stores: 1 MB (500 bytes for each of 2,000 stores, with the KV text).
 * - Secrets: 1 MB (2 KB each, opened and parsed, one for each Pod).
 * - Verified tokens: 13 MB (the map estimates the size of each, and holds at most 12 MB by this estimate).
 * - Proofs: 15.2 MB (660 bytes each in all three maps).
 * - Signed URLs: 8 MB (the map estimates the size of each, about 1.4 KB).
 * - Manifests and tags: 0.9 MB (300 bytes each; the manifests themselves are in the location's cache).
 * - Budgets of the Pods that issue tokens, of all users of each Pod, and of each user: 0.2 MB (100 bytes for each Pod, 200 bytes for each user).
 * - Retries and breakers: 0.6 MB (400 bytes for each service).
 */
export const createIsolate = (): Isolate => ({
  config: null,
  kv: {
    kept: new KeptEntries({ maxFound: 6_000, maxMissing: 7_000 }),
    passing: new BoundedMap(14_000),
    budgets: {
      // The numbers are KV keys in 10 seconds. Strangers can make up any number of Pods and `kid`s, but honest tokens name a new Pod or `kid` only
      // after a Pod was added or a signing key was rotated. So `claim` has a small budget.
      claim: new LookupBudget(50),
      cell: new LookupBudget(1_000),
      // A name costs about 3 keys, so 10,000 keys in 10 seconds allow about 300 names a second.
      stranger: new LookupBudget(10_000),
    },
    issuerBudgets: new BoundedMap(500),
    userBudgets: { ofPods: new BoundedMap(500), ofUsers: new BoundedMap(500) },
    health: new KvHealth(),
  },
  parsedPods: new BoundedMap(500),
  parsedRecords: {
    directory: new BoundedMap(1),
    blocks: new BoundedMap(1),
    assignments: new BoundedMap(5_000),
    health: new BoundedMap(1),
  },
  openedSecrets: new BoundedMap(500),
  tokens: { verified: createVerifiedTokens(), keys: new WeakMap() },
  proofs: {
    known: new BoundedMap(19_000),
    fromManifests: new BoundedMap(2_000),
    manifestsReadAtMs: new BoundedMap(2_000),
  },
  manifests: createManifestsMemory(),
  parsedCidrs: new WeakMap(),
  signing: createSigningMemory(),
  retries: new RetryBudget(),
  breaker: new Breaker(),
});

export const isolate = createIsolate();
