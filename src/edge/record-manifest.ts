import type { Owned } from "../blobs/proofs.ts";
import { ok, type Result } from "../lib/result.ts";
import { type Copied, type CopyTerms, copyBody, isDigestOf, smallBytes } from "../manifests/copy.ts";
import type { Source } from "../manifests/kept-manifest.ts";
import type { FetchRequest } from "../net/fetch.ts";
import { pickHeaders } from "../net/headers.ts";
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
  /** The request that the Pod gets. Its headers may differ from the client's, because a `Connection` header can remove some of them. */
  readonly sent: FetchRequest;
  readonly services: Services;
};

/**
 * Forwards a pulled or pushed manifest unchanged. After the Pod has given or accepted the manifest, the edge keeps a copy, records proofs of the
 * manifest's blobs, and remembers its tag.
 */
export function passManifest(
  sent: FetchRequest,
  { services, request }: Context,
  passed: Pick<Passing, "endpoint" | "pod">,
): Promise<Result<Response, Refusal>> {
  const passing: Passing = { ...passed, sent, services };
  if (passed.endpoint.method !== "PUT") return pullManifest(passing);
  const pushed = pushManifest(request, passing);
  // The push goes on even if the client goes away, because the edge must learn where the tag points now. Otherwise the edge would go on serving the
  // tag's old manifest.
  services.waitUntil(pushed);
  return pushed;
}

async function pushManifest(request: Request, passing: Passing): Promise<Result<Response, Refusal>> {
  const { endpoint, pod, sent, services } = passing;
  const type = manifestTypeOf(sent.headers.get("Content-Type"));
  const copied = type === null ? null : copyBody(request, copyTerms(passing));
  const answer = await services.callRegistry(pod, copied === null ? sent : { ...sent, body: copied.body });
  if (!answer.ok || !answer.value.ok) {
    copied?.end();
    return answer;
  }
  const response = answer.value;
  const digests = digestsOf(response.headers, endpoint.reference);
  const [digest] = response.status === 201 ? digests : [];
  if (isTag(endpoint.reference)) {
    const tagged = { pod, repository: endpoint.name, tag: endpoint.reference };
    const { tags } = services.manifests;
    if (digest === undefined) tags.forget(tagged);
    else tags.move(tagged, digest, services.now);
  }
  if (copied !== null && type !== null && digest !== undefined) {
    services.waitUntil(record(copied, { ...passing, response, digests, source: "push", type }));
  } else copied?.end();
  return answer;
}

async function pullManifest(passing: Passing): Promise<Result<Response, Refusal>> {
  const { endpoint, pod, sent, services } = passing;
  const answer = await services.callRegistry(pod, sent);
  if (!answer.ok) return answer;
  const response = answer.value;
  recordReference(response, passing);
  const type = manifestTypeOf(response.headers.get("Content-Type"));
  if (endpoint.method !== "GET" || response.status !== 200 || type === null) return answer;
  const digests = digestsOf(response.headers, endpoint.reference);
  const copied = isCopyDue(type, digests, passing) ? copyBody(response, copyTerms(passing)) : null;
  if (copied === null) return answer;
  services.waitUntil(record(copied, { ...passing, response, digests, source: "pull", type }));
  return ok(new Response(copied.body, { status: response.status, headers: response.headers }));
}

const copyTerms = ({ services, pod }: Passing): CopyTerms => ({ budget: services.manifests.copies, pod: pod.id });

/** Returns the digests that the manifest must hash to: the Pod's and the client's, if they name one. None if the Pod's is malformed. */
function digestsOf(headers: Headers, reference: Reference): readonly Digest[] {
  const text = headers.get("Docker-Content-Digest");
  const named = text === null ? null : parseDigest(text);
  if (named !== null && !named.ok) return [];
  return [named?.value ?? null, isDigest(reference) ? reference : null].flatMap((digest) => digest ?? []);
}

/** Records what an answer's status and headers say: where a tag points to now, or that the repository lacks what was asked for. */
function recordReference({ status, headers }: Response, { endpoint, pod, sent, services }: Passing): void {
  const { kept, tags } = services.manifests;
  const { reference, name: repository } = endpoint;
  const type = status === 200 ? manifestTypeOf(headers.get("Content-Type")) : null;
  // If `Accept` lacks a manifest type, a registry may answer 404 or give one image of a list (distribution 2.8, `GetManifest`). So we record such an
  // answer only if it is itself a list, because no registry makes a list from something else.
  const isList = type !== null && !isImageType(type);
  if ((status !== 200 && status !== 404) || !(isList || acceptsAnyManifest(sent.headers.get("Accept")))) return;
  if (isTag(reference)) {
    const tagged = { pod, repository, tag: reference };
    const [digest] = type === null ? [] : digestsOf(headers, reference);
    if (status === 404) services.waitUntil(tags.forgetMissing(tagged, services.now));
    else if (digest !== undefined) tags.record(tagged, digest, services.now);
  } else if (isDigest(reference) && status === 404) {
    services.waitUntil(kept.forgetMissing({ pod, repository, digest: reference }, services.now));
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

async function record(copied: Copied, recorded: Recorded): Promise<void> {
  try {
    const bytes = await copied.bytes;
    if (bytes !== null) await recordBytes(bytes, recorded);
  } finally {
    copied.end();
  }
}

/** Keeps a manifest and records what it proves, but only if its bytes hash to each of `digests`. */
async function recordBytes(bytes: Uint8Array<ArrayBuffer>, recorded: Recorded): Promise<void> {
  const { endpoint, pod, services, response, digests, source, type } = recorded;
  const [digest] = digests;
  if (digest === undefined) return;
  for (const each of digests) if (!(await isDigestOf(each, bytes))) return;
  const manifest: Owned = { pod, repository: endpoint.name, digest };
  const work: Promise<void>[] = [];
  const { kept } = services.manifests;
  const headers = pickHeaders(response.headers, source === "pull" ? pulledNames : pushedNames);
  if (isAscii(headers) && kept.isDue(manifest, source)) {
    work.push(
      kept.keep(manifest, { source, bytes, headers: { "Content-Type": type, ...headers }, askedAt: services.now }),
    );
  }
  if (pod.blobs.proof === "manifest" && bytes.byteLength <= smallBytes) {
    work.push(services.proofs.recordManifest(manifest, manifestBlobs(type, bytes), services.now));
  }
  await Promise.all(work);
}

/** These headers belong to the manifest, so we keep them for the next GET. All other headers belong to this one answer. */
const pushedNames = ["Docker-Content-Digest", "Docker-Distribution-Api-Version"];
const pulledNames = [...pushedNames, "Content-Type", "ETag", "Cache-Control"];

/** The runtime shows a byte of a header that is not UTF-8 as U+FFFD, so a copy of the header would not have the Pod's bytes. */
const isAscii = (headers: Readonly<Record<string, string>>): boolean =>
  Object.values(headers).every((value) => /^[\t -~]*$/.test(value));
