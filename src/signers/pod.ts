import { storeConfig } from "./store.ts";

/** The edge passes on the Pod's own redirect if it points to one of the Pod's `blobs.hosts`. The edge signs nothing for this scheme. */
export const pod = { config: storeConfig("pod", {}) };
