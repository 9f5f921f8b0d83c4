import type { Rules } from "../../topology/topology.ts";
import type { EdgeAccess } from "./edge-access.ts";
import type { KvStore } from "./kv-store.ts";

/** What a command talks to: the running local stack, or with `--env` the account that wrangler.toml names. */
export type Target = Rules & {
  /** For messages. */
  readonly name: string;
  /** Fails where there is no running stack, or no token for the account. */
  readonly openKv: () => KvStore;
  /** Fails where it is not known where the edge is. */
  readonly openEdge: (at?: URL) => Promise<EdgeAccess>;
  /** The topology that a command reads when none is named; null where it must be named. */
  readonly defaultFile: string | null;
  /** For `${NAME}` in that file; null where a file holds the values themselves. */
  readonly placeholders: Readonly<Record<string, string>> | null;
};
