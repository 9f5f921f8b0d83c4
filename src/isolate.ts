import type { TokenMemory } from "./auth/verify.ts";
import type { ParsedCidrs } from "./blobs/choose-store.ts";
import type { ProofMemory } from "./blobs/proofs.ts";
import type { SigningMemory } from "./blobs/sign.ts";
import type { ParsedHealth } from "./blobs/store-health.ts";
import type { Config } from "./config.ts";
import type { ParsedPods } from "./directory/directory.ts";
import { type KvCache, LookupBudget } from "./directory/kv.ts";
import type { OpenedSecrets } from "./directory/secrets.ts";
import { BoundedMap } from "./lib/collections.ts";
import { RetryBudget } from "./net/retry-budget.ts";

/** Everything that outlives a request. Requests share values, never promises, because a Worker must not await I/O that another request began. */
export type Isolate = {
  /** Parsed once, by the first request. */
  config: Config | null;
  readonly kv: KvCache;
  readonly parsedPods: ParsedPods;
  readonly openedSecrets: OpenedSecrets;
  readonly tokens: TokenMemory;
  readonly proofs: ProofMemory;
  readonly parsedCidrs: ParsedCidrs;
  readonly parsedHealth: ParsedHealth;
  readonly signing: SigningMemory;
  readonly retries: RetryBudget;
};

/**
 * All caches with their bounds. At the usual size of an entry they add up to 63 MB of an isolate's 128 MB:
 * KV texts 10 MB (500 bytes each), Pod records 5 MB (10 KB each), their CIDRs 4 MB (130 bytes each, 30,000 by podctl's limit), secrets 1 MB (2 KB
 * each, opened and parsed), verified tokens 24 MB (8 KB and their access each), proofs 14 MB (600 bytes each), signed URLs 5 MB (500 per store of
 * at most 20 stores in use). What is known of the stores is less than 0.5 MB (300 bytes for each of 1,500 stores).
 */
export const createIsolate = (): Isolate => ({
  config: null,
  kv: {
    kept: new BoundedMap(20_000),
    passing: new BoundedMap(15_000),
    // An isolate itself needs a handful: a rotated key, a Pod just added. What strangers make up has no end.
    claims: new LookupBudget(50),
    // Names that were not pulled here before, at 3 keys each, are some 300 a second.
    names: new LookupBudget(10_000),
  },
  parsedPods: new BoundedMap(500),
  openedSecrets: new BoundedMap(200),
  tokens: { verified: new BoundedMap(2_000), keys: new WeakMap() },
  proofs: {
    known: new BoundedMap(20_000),
    fromManifests: new BoundedMap(2_000),
    manifestsReadAtMs: new BoundedMap(2_000),
  },
  parsedCidrs: new WeakMap(),
  parsedHealth: new BoundedMap(1),
  signing: { urls: new WeakMap(), secrets: new BoundedMap(200), dayKeys: new WeakMap() },
  retries: new RetryBudget(),
});

/** The one that all requests of this isolate share. */
export const isolate = createIsolate();
