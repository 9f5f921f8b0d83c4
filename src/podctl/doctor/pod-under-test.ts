import type { Pod } from "../../directory/directory.ts";
import type { Probed } from "../../edge/probed.ts";
import type { Result } from "../../lib/result.ts";
import type { User } from "../target/operator.ts";
import type { ProbeFailure } from "./ask-probe.ts";
import type { Clocks } from "./check-clock.ts";
import type { Checks } from "./findings.ts";

/** What doctor knows of the deployment before it checks a Pod. */
export type Deployment = {
  /** The edge's origin. */
  readonly edge: string;
  /** Host names of the edge, as in the `Rules` of a topology. */
  readonly edgeHosts: readonly string[];
  /** The realm of the edge's challenge. Null if the edge did not send one. */
  readonly realm: string | null;
  readonly probeToken: string | null;
  /** Whether the edge is in order: /-/health answers as it should, and /v2/ does not answer 500. */
  readonly answers: boolean;
  /** `on`: /-/probe takes podctl's token. `off`: it does not, so doctor checks neither stores nor the key of a gateway. */
  readonly probing: "on" | "off";
  /** The edge's clock minus podctl's, in seconds. */
  readonly edgeAheadSeconds: number;
  /** Whether to make the checks that write. */
  readonly write: boolean;
};

export type PodUnderTest = {
  readonly pod: Pod;
  readonly checks: Checks;
  readonly clocks: Clocks;
  readonly deployment: Deployment;
  /**
   * The login for the requests that check this Pod. If `way` is "through the edge", this is `userAtEdge`. Null if the operator gave no login that
   * this Pod may see.
   */
  readonly user: User | null;
  /** The login for requests through the edge. Null if there is none, or if the edge would send the login to another Pod, which must not see it. */
  readonly userAtEdge: User | null;
  readonly probe: NonNullable<Pod["probe"]> | null;
  /** What the edge's `/-/probe` says about this Pod. Null if podctl did not ask: the Pod is down, its record has no probe, or `probing` is off. */
  readonly probed: Result<Probed, ProbeFailure> | null;
  /** Why no check of this Pod can go through the edge. Null if the edge answers, and asks this Pod for the probe. */
  readonly whyNotThroughEdge: string | null;
  /** The edge's text for a client whom the rules of the probe's group exclude. Null if the group has no such rules. */
  readonly denial: string | null;
  /** How doctor reaches the Pod. A Pod with `trust` takes requests only from the edge, so doctor asks it through the edge. */
  readonly way: "direct" | "through the edge";
};

export type PodWithProbe = PodUnderTest & { readonly probe: NonNullable<Pod["probe"]> };

/** The probe repository at the Pod's registry or at the edge, and the headers of the requests to it. */
export type Repository = {
  /** `<origin>/v2/<name>`. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
};
