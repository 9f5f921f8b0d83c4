import { bearer, call } from "../http-call.ts";
import type { Subject } from "./subject.ts";
import { fetchToken } from "./token.ts";

/** Why the edge cannot be asked for this Pod's probe; null: it can. */
export function whyNotThroughEdge({ deployment, ownsProbe }: Subject): string | null {
  if (!deployment.answers) return "the edge does not answer";
  return ownsProbe ? null : "the map gives the probe repository to another Pod";
}

/** What clients do, for a Pod that is well by itself: a token of the edge, unless the fleet asks for none, and the probe's blob by it. */
export async function checkThroughEdge(subject: Subject, tokens: "asks" | "open"): Promise<void> {
  const { checks, deployment, probe } = subject;
  if (probe === null) return;
  const why = whyNotThroughEdge(subject);
  if (why !== null) return checks.skip("through edge", why);
  const wanted = { type: "repository", name: probe.repository, actions: ["pull"] };
  const token =
    tokens === "open" ? null : await fetchToken({ ...subject, way: "through the edge" }, "", wanted, () => {});
  if (token?.ok === false)
    return checks.found("through edge", "edge-differs", `a token of the edge: ${token.error.text}`);
  const headers = bearer(token?.value.sent ?? null);
  const url = `${deployment.edge}/v2/${probe.repository}/blobs/${probe.digest}`;
  const head = await call(url, { method: "HEAD", headers });
  const status = head.ok ? head.value.status : 0;
  if (status === 200 || status === 307) return checks.ok("through edge", `HEAD of the probe is ${status}`);
  checks.found("through edge", "edge-differs", `HEAD of the probe: ${head.ok ? status : head.error}`);
}
