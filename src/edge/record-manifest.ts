import type { Owned } from "../blobs/proofs.ts";
import { ok, type Result } from "../lib/result.ts";
import { type Copied, copyBody, isDigestOf, smallBytes } from "../manifests/copy.ts";
import type { Source } from "../manifests/kept-manifest.ts";
import type { FetchRequest } from "../net/fetch.ts";
import { type Digest, parseDigest } from "../oci/digest.ts";
import type { RepositoryEndpoint } from "../oci/endpoint.ts";
import { manifestBlobs } from "../oci/manifest-blobs.ts";
import { acceptsAnyManifest, isImageType, type ManifestType, manifestTypeOf } from "../oci/manifest-types.ts";
import { isDigest, isTag, type Reference } from "../oci/reference.ts";
import type { AdmittedPod } from "../pods/gate.ts";
import type { Refusal } from "../refusal.ts";
import type { Services } from "../services.ts";
import type { Context } from "./authorize.ts";

export type ManifestEndpoint = Extract<RepositoryEndpoint, { readonly kind: "manifest" }>;

type Passing = {
  readonly endpoint: ManifestEndpoint;
  readonly pod: AdmittedPod;
  readonly request: Request;
  readonly services: Services;
};

/**
 * Forwards a manifest, pulled or pushed, as it is. Once the Pod has accepted or given it, a copy of it proves the blobs that it names and is kept, and
 * its tag is remembered.
 */
export async function passManifest(
  sent: FetchRequest,
  { services, request }: Context,
  { endpoint, pod }: Pick<Passing, "endpoint" | "pod">,
): Promise<Result<Response, Refusal>> {
  const passing: Passing = { endpoint, pod, request, services };
  const isPush = endpoint.method === "PUT";
  const pushedType = isPush ? manifestTypeOf(request.headers.get("Content-Type")) : null;
  const pushed = pushedType === null ? null : copyBody(request, services.manifests.largeCopies);
  const answer = await services.callRegistry(pod, pushed === null ? sent : { ...sent, body: pushed.body });
  if (!answer.ok) return answer;
  const response = answer.value;
  recordReference(response, passing);
  const digests = digestsOf(response.headers, endpoint.reference);
  if (isPush && pushed !== null && pushedType !== null && response.status === 201) {
    services.waitUntil(record(pushed, { ...passing, response, digests, source: "push", type: pushedType }));
  }
  const type = manifestTypeOf(response.headers.get("Content-Type"));
  if (endpoint.method !== "GET" || response.status !== 200 || type === null) return answer;
  if (!isCopyDue(type, digests, passing)) return answer;
  const pulled = copyBody(response, services.manifests.largeCopies);
  if (pulled === null) return answer;
  services.waitUntil(record(pulled, { ...passing, response, digests, source: "pull", type }));
  return ok(new Response(pulled.body, response));
}

/** What the manifest must hash to: the digest that the Pod names, and the one that was asked for. */
function digestsOf(headers: Headers, reference: Reference): readonly Digest[] {
  const text = headers.get("Docker-Content-Digest");
  const named = text === null ? null : parseDigest(text);
  if (named !== null && !named.ok) return [];
  return [named?.value ?? null, isDigest(reference) ? reference : null].flatMap((digest) => digest ?? []);
}

/** What an answer's status and headers say: where a tag points to now, or that the repository lacks what was asked for. */
function recordReference({ status, ok: isOk, headers }: Response, { endpoint, pod, request, services }: Passing): void {
  const { kept, tags } = services.manifests;
  const { reference, name: repository } = endpoint;
  const [digest] = digestsOf(headers, reference);
  if (endpoint.method === "PUT") {
    if (!isTag(reference) || !isOk) return;
    const tagged = { pod, repository, tag: reference };
    if (status === 201 && digest !== undefined) tags.move(tagged, digest);
    else tags.forget(tagged);
    return;
  }
  // By what a client accepts, a registry may answer 404, or give one image out of a list (distribution 2.8, `GetManifest`).
  if (!acceptsAnyManifest(request.headers.get("Accept"))) return;
  if (isTag(reference)) {
    const tagged = { pod, repository, tag: reference };
    if (status === 404) services.waitUntil(tags.forgetMissing(tagged));
    const isManifest = status === 200 && manifestTypeOf(headers.get("Content-Type")) !== null;
    if (isManifest && digest !== undefined) tags.record(tagged, digest, services.now);
  } else if (isDigest(reference) && status === 404) {
    services.waitUntil(kept.forgetMissing({ pod, repository, digest: reference }));
  }
}

function isCopyDue(type: ManifestType, [digest]: readonly Digest[], { endpoint, pod, services }: Passing): boolean {
  if (digest === undefined) return false;
  const manifest: Owned = { pod, repository: endpoint.name, digest };
  const provesMore = pod.blobs.proof === "manifest" && isImageType(type) && !services.proofs.hasManifest(manifest);
  return provesMore || services.manifests.kept.isDue(manifest, "pull");
}

type Recorded = Passing & {
  readonly response: Response;
  readonly digests: readonly Digest[];
  readonly source: Source;
  readonly type: ManifestType;
};

/** A manifest that does not hash to each of `digests` is not kept and proves nothing. */
async function record(copied: Copied, recorded: Recorded): Promise<void> {
  const { endpoint, pod, services, response, digests, source, type } = recorded;
  const bytes = await copied.bytes;
  const [digest] = digests;
  if (bytes === null || digest === undefined) return;
  for (const each of digests) if (!(await isDigestOf(each, bytes))) return;
  const manifest: Owned = { pod, repository: endpoint.name, digest };
  const { kept } = services.manifests;
  if (kept.isDue(manifest, source)) {
    const headers = source === "pull" ? headersOf(response, pulledNames) : headersOf(response, pushedNames);
    kept.keep(manifest, { source, bytes, headers: { "Content-Type": type, ...headers }, askedAt: services.now });
  }
  if (pod.blobs.proof !== "manifest" || bytes.byteLength > smallBytes) return;
  await services.proofs.recordManifest(manifest, manifestBlobs(type, bytes), services.now);
}

/** What the answer to the next GET has too. Everything else is about this one answer. */
const pushedNames = ["Docker-Content-Digest", "Docker-Distribution-Api-Version"];
const pulledNames = [...pushedNames, "Content-Type", "ETag", "Cache-Control"];

const headersOf = ({ headers }: Response, names: readonly string[]): Readonly<Record<string, string>> =>
  Object.fromEntries(names.flatMap((name) => (headers.has(name) ? [[name, headers.get(name) ?? ""]] : [])));
