import { rootOf, signBlobUrl } from "../blobs/sign.ts";
import type { Pod } from "../directory/directory.ts";
import { parsePodId } from "../directory/pod-id.ts";
import { sameSecret } from "../lib/bytes.ts";
import { jsonResponse } from "../lib/json.ts";
import { err, ok, type Result } from "../lib/result.ts";
import type { Digest } from "../oci/digest.ts";
import type { OciError } from "../oci/errors.ts";
import type { RepositoryName } from "../oci/repository-name.ts";
import { trustHeaders } from "../pods/trust.ts";
import { grantParameter, sealGrant } from "../pods/upload-grant.ts";
import type { Refusal } from "../refusal.ts";
import type { Services } from "../services.ts";
import type { Store } from "../signers/index.ts";
import { gatewayKeys } from "./choose-gateway.ts";
import type { Probed, ProbedStore } from "./probed.ts";
import type { Reply } from "./refuse.ts";

/**
 * Answers `GET /-/probe?pod=<id>` with signed URLs of the Pod's probe blob, so that podctl can fetch the blob without a key of its own. Null if this
 * deployment has no `PROBE_TOKEN`. Without `pod`, the answer names the newest sealing key.
 */
export async function serveProbe(request: Request, services: Services): Promise<Reply | null> {
  const { probeToken } = services.config;
  if (probeToken === null) return null;
  const given = /^bearer (\S+)$/i.exec(request.headers.get("Authorization") ?? "")?.[1] ?? "";
  if (!(await sameSecret(given, probeToken))) return refused(unauthorized);
  if (request.method !== "GET") return refused(wrongMethod);
  const { searchParams, origin } = new URL(request.url);
  if (!searchParams.has("pod")) {
    const sealingKey = services.config.sealingKeys[0]?.kid ?? null;
    return ok({ response: jsonResponse({ sealingKey }), outcome: "probed" });
  }
  const answer = await probe(searchParams.get("pod") ?? "", { origin, services });
  if (!answer.ok) return answer;
  return ok({ response: jsonResponse(answer.value), outcome: "probed", pod: answer.value.pod });
}

const refused = (error: OciError): Result<never, Refusal> => err({ reason: "refused", error });

const unauthorized: OciError = {
  code: "UNAUTHORIZED",
  status: 401,
  message: "the probe needs the operator's token: the secret PROBE_TOKEN as a Bearer token",
  headers: { "WWW-Authenticate": 'Bearer realm="probe"' },
};
const wrongMethod: OciError = {
  code: "UNSUPPORTED",
  status: 405,
  message: "method is not supported here; want GET",
  headers: { Allow: "GET" },
};

type Probing = { readonly origin: string; readonly services: Services };

async function probe(text: string, { origin, services }: Probing): Promise<Result<Probed, Refusal>> {
  const id = parsePodId(text);
  if (!id.ok) return refused({ code: "UNSUPPORTED", status: 400, message: id.error });
  const found = await services.directory.pod(id.value);
  if (!found.ok) return found;
  const pod = found.value;
  if (pod === null) return refused({ code: "UNSUPPORTED", status: 404, message: `Pod "${id.value}" has no record` });
  if (pod.probe === undefined) {
    return refused({ code: "UNSUPPORTED", status: 404, message: `Pod "${id.value}" has no probe in its record` });
  }
  const { repository, digest } = pod.probe;
  const stores = await Promise.all(
    pod.blobs.stores.map((store, index) => probeStore(store, index, { pod, digest, services })),
  );
  const gateway = pod.gateway
    ? { gateway: await probeGateway(pod, pod.gateway, { repository, origin, services }) }
    : {};
  const marks = await trustHeaders(pod, services.openSecret);
  const trust = marks.ok ? {} : { trust: { error: marks.error.text } };
  return ok({ pod: pod.id, revision: pod.revision, repository, digest, stores, ...gateway, ...trust });
}

async function probeGateway(
  { id, registry }: Pod,
  gateway: NonNullable<Pod["gateway"]>,
  { repository, origin, services }: Probing & { readonly repository: RepositoryName },
): Promise<NonNullable<Probed["gateway"]>> {
  const keys = await gatewayKeys(id, gateway, services);
  if (!keys.ok) return { error: keys.error.text };
  const grant = { pod: id, repository, upload: "doctor", query: "", token: null, pin: "", edge: origin, registry };
  const sealed = await sealGrant(grant, { keys: keys.value, now: services.now });
  return { location: `${gateway.url}/v2/${repository}/blobs/uploads/doctor?${grantParameter}=${sealed}` };
}

type ProbedBlob = { readonly pod: Pod; readonly digest: Digest; readonly services: Services };

async function probeStore(store: Store, index: number, { pod, digest, services }: ProbedBlob): Promise<ProbedStore> {
  if (store.scheme === "pod") return { store: index, scheme: "pod", redirectsByItself: true };
  const sign = (method: "GET" | "HEAD") => signBlobUrl({ method, digest, pod, store }, services);
  const [get, head] = await Promise.all([sign("GET"), sign("HEAD")]);
  const place = { store: index, scheme: store.scheme };
  if (!get.ok) return { ...place, error: get.error.text };
  if (!head.ok) return { ...place, error: head.error.text };
  const urls = { GET: get.value, HEAD: head.value };
  if (store.scheme !== "azure") return { ...place, urls };
  const root = rootOf(store) === "legacy" ? "plain" : "legacy";
  const otherRoot = await signBlobUrl({ method: "HEAD", digest, pod, store, root }, services);
  return otherRoot.ok ? { ...place, urls, otherRoot: otherRoot.value } : { ...place, urls };
}
