import { storeConfig } from "./store.ts";

/** The edge signs nothing for this scheme. It passes on the Pod's own redirect if the target is one of the Pod's blob hosts. */
export const pod = { config: storeConfig("pod", {}) };
