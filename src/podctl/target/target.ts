import type { Rules } from "../../topology/topology.ts";
import type { KvStore } from "./kv-store.ts";
import type { User } from "./operator.ts";

/** The target that a command works on: the running local stack or, with `--env`, the account that wrangler.toml names. */
export type Target = Rules & {
  /** How messages name the target: `the local stack`, or the environment that `--env` names. */
  readonly name: string;
  /** The Worker's variable SERVICE: the service that clients name when they ask for a token. */
  readonly service: string;
  /** Throws a CliFailure if no local stack is running or the account's API token is missing. */
  readonly openKv: () => KvStore;
  /** Throws a CliFailure if neither `at` nor the target says where the edge is. */
  readonly openEdge: (at?: URL) => Promise<EdgeAccess>;
  /** The topology file that a command reads by default. Null if the operator must always name a file. */
  readonly defaultFile: string | null;
  /** The values of each `${NAME}` in a topology file. Null if files for this target have no placeholders. */
  readonly placeholders: Readonly<Record<string, string>> | null;
};

export type EdgeAccess = {
  readonly origin: string;
  /** The Worker's PROBE_TOKEN; null if the operator has not given it. */
  readonly probeToken: string | null;
  /** The login for all Pods. Null if the operator has given none. */
  readonly user: User | null;
};
