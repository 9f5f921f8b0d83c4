/** The data that the checks of one Pod get. */
import type { Pod } from "../../directory/directory.ts";
import type { User } from "../target/operator.ts";
import type { Checks } from "./findings.ts";

/** What doctor knows of the deployment before it checks a Pod. */
export type Deployment = {
  /** The edge's origin. */
  readonly edge: string;
  /** Host names of the edge, without ports. */
  readonly edgeHosts: readonly string[];
  readonly probeToken: string | null;
  /** Whether the edge answers at all. */
  readonly answers: boolean;
  /** Whether /-/probe answers. If it does not, no store is checked. */
  readonly probing: "on" | "off";
  /** The edge's clock minus ours, in seconds. Tokens and signed URLs are valid by the edge's clock. */
  readonly edgeAheadSeconds: number;
  /** Whether to make the checks that write. */
  readonly write: boolean;
};

export type PodUnderTest = {
  readonly pod: Pod;
  readonly checks: Checks;
  readonly deployment: Deployment;
  /** The login for this Pod, sent the `way` that doctor reaches it. Null if the operator gave none, or if the one who would get it must not see it. */
  readonly user: User | null;
  /** The login for requests through the edge. Null also if the edge would send it to another Pod. */
  readonly userAtEdge: User | null;
  readonly probe: NonNullable<Pod["probe"]> | null;
  /**
   * Whether the directory assigns the probe repository to this Pod. If not, the edge asks another Pod for the probe, so no check of this Pod can go
   * through the edge.
   */
  readonly ownsProbe: boolean;
  /** How doctor reaches the Pod. A Pod that trusts only the edge is checked through the edge. */
  readonly way: "direct" | "through the edge";
};

export type PodWithProbe = PodUnderTest & { readonly probe: NonNullable<Pod["probe"]> };
