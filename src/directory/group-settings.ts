import * as v from "valibot";
import { when } from "../signers/store.ts";

/**
 * Who may use a group. If there is a list `allow`, only the clients on it may. A client on the list `deny` never may. A client is on a list if it
 * fits one of the list's conditions.
 */
const clients = v.strictObject({
  allow: v.optional(v.array(when)),
  deny: v.optional(v.array(when)),
  /** The text for a client that is refused. */
  reason: v.optional(v.string()),
});

/** The settings of a group that do not depend on its state. They are members of its assignment. */
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
