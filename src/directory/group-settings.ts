import * as v from "valibot";
import { when } from "../signers/store.ts";

/** Who may use a group. A client must fit no condition of `deny`. If there is a list `allow`, the client must fit one of its conditions. */
const clients = v.strictObject({
  allow: v.optional(v.array(when)),
  deny: v.optional(v.array(when)),
  /** The text for a client that is refused. */
  reason: v.optional(v.string()),
});

/** The settings of an active or a read-only group. They are members of its assignment. */
export const groupSettings = {
  clients: v.optional(clients),
  /**
   * `stream`: clients get blobs through the Pod and the edge, because their network does not reach the Pod's storage. If the setting is missing,
   * clients are redirected to the storage.
   */
  delivery: v.optional(v.literal("stream")),
  /** `edge`: clients send their uploads to the edge, even if the Pod has a gateway that would take them. */
  uploads: v.optional(v.literal("edge")),
};

export type ClientRules = v.InferOutput<typeof clients>;
