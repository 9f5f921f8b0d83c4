import type { ByteBudget } from "../lib/byte-budget.ts";
import { BoundedMap } from "../lib/collections.ts";
import type { LocationPorts } from "../net/location-cache.ts";
import { createCopyBudget } from "./copy.ts";
import { createKeptManifests, type KeptManifests, type ManifestMemory } from "./kept.ts";
import { createSeenTags, type SeenTags, type TagMemory } from "./tags.ts";

/** What an isolate remembers of manifests. The manifests themselves are in the location's cache. */
export type ManifestsMemory = {
  readonly kept: ManifestMemory;
  readonly tags: TagMemory;
  readonly copies: ByteBudget;
};

export const createManifestsMemory = (): ManifestsMemory => ({
  kept: new BoundedMap(1_500),
  tags: new BoundedMap(1_500),
  copies: createCopyBudget(),
});

export type Manifests = { readonly kept: KeptManifests; readonly tags: SeenTags; readonly copies: ByteBudget };

type Ports = LocationPorts & { readonly memory: ManifestsMemory };

export const createManifests = ({ memory: { kept, tags, copies }, cache, clock, waitUntil }: Ports): Manifests => ({
  kept: createKeptManifests({ memory: kept, cache, clock, waitUntil }),
  tags: createSeenTags({ memory: tags, cache, clock, waitUntil }),
  copies,
});
