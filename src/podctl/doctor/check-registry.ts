import { provesBlob, redirectTarget } from "../../blobs/head-proof.ts";
import { parseChallenge } from "../../oci/challenge.ts";
import { whyEdge } from "../../topology/check-pod.ts";
import { bearer, type Called, call } from "../http-call.ts";
import { inOneLine } from "../output.ts";
import type { PodUnderTest, PodWithProbe } from "./pod-under-test.ts";

/** `asks`: the registry wants a token for this service. `open`: it wants no token. */
type RegistryAnswer = { readonly kind: "asks"; readonly service: string } | { readonly kind: "open" };

/** OCI end-1. Returns null after a finding, because more requests to this registry would be useless. */
export async function checkRegistry({ pod, checks, clocks, deployment }: PodUnderTest): Promise<RegistryAnswer | null> {
  const loop = whyEdge(pod.registry, deployment);
  if (loop !== null) {
    checks.found("registry", "registry-wrong", `${pod.registry} ${loop}`);
    return null;
  }
  const answer = await call(`${pod.registry}/v2/`);
  if (!answer.ok) {
    checks.found("registry", "registry-unreachable", `${pod.registry}: ${answer.error}`);
    return null;
  }
  clocks.see("the registry", answer.value);
  const { status, headers } = answer.value;
  if (status === 200 && /^text\/html\b/i.test(headers.get("Content-Type") ?? "")) {
    // A web server or a proxy may answer every URL with 200 and a page, so this is no sign of a registry.
    checks.found("registry", "registry-wrong", `${pod.registry}/v2/ answers with a web page; want a registry's answer`);
    return null;
  }
  if (status === 200) {
    checks.ok("registry", "answers and asks for no token");
    return { kind: "open" };
  }
  const challenge = parseChallenge(headers.get("WWW-Authenticate"));
  if (status !== 401 || challenge === null) {
    const wanted = status === 401 ? "401 without a Bearer challenge" : String(status);
    checks.found("registry", "registry-wrong", `${pod.registry}/v2/ answers ${wanted}; want 200, or 401 with one`);
    return null;
  }
  checks.ok("registry", "answers");
  return { kind: "asks", service: challenge.service };
}

/** Returns whether the Pod has the probe's blob. If podctl asks the Pod directly, this also checks where the Pod redirects a GET of the blob. */
export async function checkProbeBlob(tested: PodWithProbe, token: string | null): Promise<boolean> {
  const { pod, checks, probe, way, deployment } = tested;
  const base = way === "direct" ? pod.registry : deployment.edge;
  const url = `${base}/v2/${probe.repository}/blobs/${probe.digest}`;
  const head = await call(url, { method: "HEAD", headers: bearer(token) });
  if (!head.ok) {
    checks.found("probe blob", "registry-unreachable", `HEAD of the probe: ${head.error}`);
    return false;
  }
  const { status } = head.value;
  if (status === 503 && way === "through the edge") {
    checks.found("probe blob", "registry-unreachable", "the edge answers 503 to a HEAD of the probe");
    return false;
  }
  if (status === 401 || status === 403) {
    checks.found(
      "token accepted",
      "token-refused",
      `the registry answers ${status} to a token of its own token service`,
    );
    return false;
  }
  if (status === 404) {
    checks.found("probe blob", "probe-missing", `"${probe.repository}" has no ${probe.digest}`);
    return false;
  }
  if (status === 502 && way === "through the edge" && isOfEdge(head.value)) {
    const text = "the edge answers 502 to a HEAD of the probe: its log says in `cause` where the Pod redirects blobs";
    checks.found("redirect", "redirect-unlisted", text);
    return true;
  }
  if (status !== 200 && status !== 302 && status !== 307) {
    checks.found("probe blob", "registry-wrong", `HEAD of the probe is answered ${status}; want 200, 302 or 307`);
    return false;
  }
  // A redirect need not name the blob's digest, so we check the digest only in a 200.
  if (status === 200 && !provesBlob(head.value, probe.digest, pod)) {
    const named = inOneLine(head.value.headers.get("Docker-Content-Digest") ?? "");
    checks.found("probe blob", "registry-wrong", `HEAD of the probe names the digest "${named}"; want ${probe.digest}`);
    return false;
  }
  checks.ok("probe blob", "is in its repository");
  if (way === "direct") await checkRedirect(tested, url, token);
  return true;
}

/**
 * Whether the edge itself made this error. The edge also passes on the errors of a proxy in front of the Pod, which are usually in HTML. Some proxies
 * answer in JSON, but without the registry API's header.
 */
export const isOfEdge = ({ headers }: Called): boolean =>
  /^application\/json\b/.test(headers.get("Content-Type") ?? "") && headers.has("Docker-Distribution-Api-Version");

async function checkRedirect({ pod, checks }: PodUnderTest, url: string, token: string | null): Promise<void> {
  const get = await call(url, { headers: { ...bearer(token), Range: "bytes=0-0" } });
  if (!get.ok) return checks.found("redirect", "registry-unreachable", `GET of the probe: ${get.error}`);
  const { status, headers } = get.value;
  const location = status >= 300 && status < 400 ? headers.get("Location") : null;
  const target = location === null ? null : URL.parse(location, pod.registry);
  if (location !== null && redirectTarget(location, pod) === null) {
    const where = target?.origin ?? "no URL";
    const text = `blobs are redirected to "${where}", which is not https or which neither blobs.hosts nor a store names`;
    return checks.found("redirect", "redirect-unlisted", text);
  }
  if (target === null && pod.blobs.stores.some(({ scheme }) => scheme === "pod")) {
    const text = `GET of the probe is answered ${status}, but a store has the scheme "pod"`;
    return checks.found("redirect", "redirect-off", text);
  }
  checks.ok("redirect", target === null ? "off: the edge signs URLs or streams" : `to ${target.host}`);
}
