import { storeConfig } from "./store.ts";

/** The Pod's own redirect is taken as it comes, where it points at one of the Pod's `blobs.hosts`: nothing is signed here. */
export const pod = { config: storeConfig("pod", {}) };
