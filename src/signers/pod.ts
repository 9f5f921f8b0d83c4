import { storeConfig } from "./store.ts";

/** The Pod's own redirect is passed on if it points to one of the Pod's `blobs.hosts`. Nothing is signed here. */
export const pod = { config: storeConfig("pod", {}) };
