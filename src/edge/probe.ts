import type { Probed, ProbedStore } from "../blobs/probed.ts";
import { signBlobUrl } from "../blobs/sign.ts";
import type { Pod } from "../directory/directory.ts";
import { parsePodId } from "../directory/pod-id.ts";
import { sameSecret } from "../lib/bytes.ts";
import { jsonResponse } from "../lib/json-response.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { Digest } from "../oci/digest.ts";
import type { ErrorCode } from "../oci/errors.ts";
import { parameter } from "../oci/query.ts";
import type { Services } from "../services.ts";
import { type Answer, type AnyRefusal, refuse } from "./refuse.ts";

/**
 * `GET /-/probe?pod=<id>`, for operators: one signed URL per store and method for the one blob that the Pod's record sets out for checks,
 * and for no other; so that podctl can fetch it without a key of its own. Null: this deployment has no such endpoint.
 */
export async function serveProbe(request: Request, services: Services): Promise<Answer | null> {
  const { probeToken, service } = services.config;
  if (probeToken === null) return null;
  const url = new URL(request.url);
  const refused = (refusal: AnyRefusal): Answer => ({
    ...refuse(refusal, null, { realm: url.origin, service }),
    endpoint: "probe",
  });
  const given = /^bearer (\S+)$/i.exec(request.headers.get("Authorization") ?? "")?.[1] ?? "";
  if (!(await sameSecret(given, probeToken))) return refused(unauthorized);
  if (request.method !== "GET") return refused(wrongMethod);
  const probed = await probe(parameter(url.search.slice(1), "pod") ?? "", services);
  if (!probed.ok) return refused(probed.error);
  const response = jsonResponse(probed.value, {});
  return { response, outcome: "probed", endpoint: "probe", pod: probed.value.pod };
}

const refusal = (code: ErrorCode, status: number, message: string, headers: Readonly<Record<string, string>> = {}) =>
  ({ reason: "malformed", error: { code, status, message, headers } }) as const;

const unauthorized = refusal("UNAUTHORIZED", 401, "the operator's token is wanted: the secret PROBE_TOKEN", {
  "WWW-Authenticate": 'Bearer realm="probe"',
});
const wrongMethod = refusal("UNSUPPORTED", 405, "method is not supported; want GET", { Allow: "GET" });

async function probe(text: string, services: Services): Promise<Result<Probed, AnyRefusal>> {
  const id = parsePodId(text);
  if (!id.ok) return err(refusal("UNSUPPORTED", 400, id.error));
  const found = await services.directory.pod(id.value);
  if (!found.ok) return found;
  const pod = found.value;
  if (pod === null) return err(refusal("UNSUPPORTED", 404, `Pod "${id.value}" has no record`));
  if (pod.probe === undefined) return err(refusal("UNSUPPORTED", 404, `Pod "${id.value}" has no probe`));
  const { repository, digest } = pod.probe;
  const stores = await Promise.all(pod.blobs.stores.map((_, index) => probeStore(pod, index, digest, services)));
  return ok({ pod: pod.id, revision: pod.revision, repository, digest, stores });
}

async function probeStore(pod: Pod, index: number, digest: Digest, services: Services): Promise<ProbedStore> {
  const store = pod.blobs.stores[index];
  if (store === undefined || store.scheme === "pod") return { store: index, scheme: "pod", redirectsByItself: true };
  const sign = (method: "GET" | "HEAD") => signBlobUrl(method, digest, pod, store, services.openSecret, services.now);
  const [get, head] = await Promise.all([sign("GET"), sign("HEAD")]);
  const place = { store: index, scheme: store.scheme };
  if (!get.ok) return { ...place, error: get.error.text };
  if (!head.ok) return { ...place, error: head.error.text };
  return { ...place, urls: { GET: get.value, HEAD: head.value } };
}
