import * as v from "valibot";
import { type When, when } from "../signers/store.ts";

/** A client is on the list if it fits one of the conditions. A list of one condition may be written as that condition. */
const conditions = v.pipe(
  v.union([v.array(when), when]),
  v.transform((some): readonly When[] => [some].flat()),
);

/** Who may use a group: the clients on `allow`, or all clients without it, but never the clients on `deny`. */
const clients = v.strictObject({
  allow: v.optional(conditions),
  deny: v.optional(conditions),
  /** The text for a client that is refused. */
  reason: v.optional(v.string()),
});

/** The settings of a group that do not depend on its state. They are members of its assignment. */
export const groupSettings = {
  clients: v.optional(clients),
  /** Blobs come through the Pod, for users whose network does not reach the Pod's storage. Without it, clients are redirected. */
  delivery: v.optional(v.literal("stream")),
  /** Uploads stay on the edge, even if the Pod has a gateway. */
  uploads: v.optional(v.literal("edge")),
};

export type ClientRules = v.InferOutput<typeof clients>;
