import type { Grant } from "../auth/grant.ts";
import { withoutFirst } from "../lib/read-bounded.ts";
import { ok } from "../lib/result.ts";
import type { KeptManifest } from "../manifests/kept-manifest.ts";
import { conditionHeaders } from "../net/headers.ts";
import { parseDigest } from "../oci/digest.ts";
import type { RegistryEndpoint } from "../oci/endpoint.ts";
import { accepts, manifestTypeOf } from "../oci/manifest-types.ts";
import { isDigest } from "../oci/reference.ts";
import { isRead } from "../oci/scope.ts";
import { notAPage, withNoTransform } from "../pods/rewrite.ts";
import type { Asked, Authorized } from "./authorize.ts";
import type { ManifestEndpoint } from "./record-manifest.ts";
import { isPlain } from "./redirect-blob.ts";
import type { Answer, Reply } from "./refuse.ts";

/** With one of these headers, the client may want something else than the whole manifest, or an answer that comes from the Pod itself. */
const decidedByPod = [...conditionHeaders, "cache-control", "pragma"];

/**
 * Serves a GET of a manifest by digest from the location's cache. Null if the cache has no manifest that is new enough, or if the Pod must answer.
 * The Pod answers each HEAD: a client does not push what its HEAD finds, but the Pod may lack what the cache still has. The token does not show
 * whether a push follows: regctl's HEAD has a token for pulls only.
 */
export async function serveManifest(endpoint: RegistryEndpoint, { context, authorized }: Asked): Promise<Reply | null> {
  if (endpoint.method !== "GET" || !isServable(endpoint, authorized) || !isDigest(endpoint.reference)) return null;
  const { request, services } = context;
  if (decidedByPod.some((name) => request.headers.has(name))) return null;
  const { name: repository, reference: digest } = endpoint;
  const kept = await services.manifests.kept.find({ pod: authorized.pod, repository, digest });
  const response = kept === null ? null : await responseOf(kept, request);
  return response === null ? null : ok({ response, outcome: "kept" });
}

export const isServable = (endpoint: RegistryEndpoint, { grant }: Authorized<Grant>): endpoint is ManifestEndpoint =>
  endpoint.kind === "manifest" && isRead(endpoint.method) && isPlain(endpoint) && grant.kind !== "undecided";

/** Null if the client does not name the manifest's type in `Accept`. */
export async function responseOf(kept: KeptManifest, { method, headers }: Request): Promise<Response | null> {
  const type = manifestTypeOf(kept.headers["Content-Type"] ?? null);
  const isAccepted = type !== null && accepts(headers.get("Accept"), type);
  if (!isAccepted || method === "HEAD") await kept.body?.cancel();
  if (!isAccepted) return null;
  const answered = new Headers({ ...kept.headers, ...notAPage });
  answered.set("Cache-Control", withNoTransform(answered.get("Cache-Control")));
  answered.set("Content-Length", String(kept.bytes));
  return new Response(method === "HEAD" ? null : kept.body, { headers: answered });
}

/**
 * Returns a function that completes a manifest from the edge's copy, if the Pod breaks it off in the middle. Null unless the answer is a manifest and
 * names its digest, because only the digest shows that the copy has the same bytes.
 */
export function restOf(
  endpoint: RegistryEndpoint,
  { status, headers }: Response,
  { context, authorized }: Asked,
): NonNullable<Answer["rest"]> | null {
  const digest = parseDigest(headers.get("Docker-Content-Digest") ?? "");
  if (!isServable(endpoint, authorized) || status !== 200 || !digest.ok) return null;
  const { manifests, trace } = context.services;
  return async (sentBytes) => {
    const kept = await manifests.kept.findStale({
      pod: authorized.pod,
      repository: endpoint.name,
      digest: digest.value,
    });
    if (kept === null || kept.body === null) return null;
    const isSame = (headers.get("Content-Length") ?? String(kept.bytes)) === String(kept.bytes);
    // A hostile Pod may break off many manifests at once, while the clients read nothing. Whole copies of all these manifests would fill the memory.
    // So each copy is streamed.
    const body = isSame && sentBytes <= kept.bytes ? await withoutFirst(kept.body, sentBytes) : null;
    if (body === null) {
      await kept.body.cancel().catch(() => {});
      return null;
    }
    trace.completed = true;
    return { body, bytes: kept.bytes - sentBytes };
  };
}
