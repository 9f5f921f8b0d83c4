import type { Pod } from "../../directory/directory.ts";
import type { Digest } from "../../oci/digest.ts";
import type { RepositoryName } from "../../oci/repository-name.ts";
import type { Checks } from "./check.ts";

/** What doctor knows of the deployment before it looks at a Pod. */
export type Deployment = {
  /** The edge's origin. */
  readonly edge: string;
  /** Host names of the edge, without ports. */
  readonly edgeHosts: readonly string[];
  readonly probeToken: string | null;
  readonly answers: boolean;
  /** Whether /-/probe does; else no store is looked at. */
  readonly probing: "on" | "off";
  /** The edge's clock minus ours, in seconds: tokens and URLs live by the edge's. */
  readonly edgeAheadSeconds: number;
  readonly write: boolean;
};

export type User = { readonly name: string; readonly password: string };

/** One Pod under examination. */
export type Subject = {
  readonly pod: Pod;
  readonly checks: Checks;
  readonly deployment: Deployment;
  /** Null: this Pod may not be shown the operator's credentials, or there are none. */
  readonly user: User | null;
  readonly probe: { readonly repository: RepositoryName; readonly digest: Digest } | null;
  /** Whether the map gives the probe repository to this Pod: else the edge asks another one for it. */
  readonly ownsProbe: boolean;
  /** How the Pod is reached: a Pod that believes the edge alone is looked at through it. */
  readonly way: "direct" | "through the edge";
};
