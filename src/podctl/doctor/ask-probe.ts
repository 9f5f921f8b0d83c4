import * as v from "valibot";
import type { Pod } from "../../directory/directory.ts";
import { type Probed, probed } from "../../edge/probed.ts";
import { parseJson } from "../../lib/json.ts";
import { err, ok, type Result } from "../../lib/result.ts";
import { bearer, call } from "../http-call.ts";
import type { Deployment } from "./pod-under-test.ts";

export type ProbeFailure = { readonly finding: "edge-behind" | "edge-unreachable"; readonly text: string };

/** Asks the edge's `/-/probe` for signed URLs of the Pod's probe blob in each store. Fails if the edge's record of the Pod differs from KV's. */
export async function askProbe(deployment: Deployment, pod: Pod): Promise<Result<Probed, ProbeFailure>> {
  const answer = await call(`${deployment.edge}/-/probe?pod=${encodeURIComponent(pod.id)}`, {
    headers: bearer(deployment.probeToken),
  });
  if (!answer.ok) return err({ finding: "edge-unreachable", text: answer.error });
  const { status, text } = answer.value;
  const parsed = v.safeParse(probed, parseJson(text));
  if (parsed.success) {
    const { revision, digest } = parsed.output;
    if (revision === pod.revision && digest === pod.probe?.digest) return ok(parsed.output);
    return err({ finding: "edge-behind", text: "the edge's record of this Pod differs from the record in KV" });
  }
  // With these statuses, the edge says that it knows no such Pod, or cannot read the Pod's record.
  const finding = [404, 500, 503].includes(status) ? "edge-behind" : "edge-unreachable";
  return err({ finding, text: `/-/probe answers ${status}` });
}
