import { blobsOf, type Copied, copyManifest } from "../blobs/lesson.ts";
import type { Pod } from "../directory/directory.ts";
import type { Misconfigured } from "../directory/secrets.ts";
import { ok, type Result } from "../lib/result.ts";
import type { FetchRequest, PodFailure } from "../net/fetch-request.ts";
import { type Digest, parseDigest } from "../oci/digest.ts";
import type { RegistryEndpoint, RepositoryEndpoint } from "../oci/endpoint.ts";
import { isDigest, type Reference } from "../oci/reference.ts";
import type { Context } from "./context.ts";

type ManifestEndpoint = Extract<RepositoryEndpoint, { kind: "manifest" }>;

/** A manifest on its way to the client, or to the Pod, passes as it is; what it teaches is found out beside. */
export async function passManifest(
  { services, request }: Context<RegistryEndpoint>,
  pod: Pod,
  endpoint: ManifestEndpoint,
  sent: FetchRequest,
): Promise<Result<Response, PodFailure | Misconfigured>> {
  const pushed = endpoint.method === "PUT" ? copyManifest(request) : null;
  const answer = await services.fetchPod(pod, pushed === null ? sent : { ...sent, body: pushed.body });
  if (!answer.ok) return answer;
  const { status, headers } = answer.value;
  const digests = digestsOf(headers, endpoint.reference);
  const [digest] = digests;
  if (digest === undefined) return answer;
  const manifest = { pod, repository: endpoint.name, digest };
  const learn = async (copied: Copied) => services.proofs.teach(manifest, await blobsOf(copied, digests), services.now);
  if (pushed !== null && status === 201) services.waitUntil(learn(pushed));
  if (endpoint.method !== "GET" || status !== 200 || services.proofs.hasTaught(manifest)) return answer;
  const pulled = copyManifest(answer.value);
  if (pulled === null) return answer;
  services.waitUntil(learn(pulled));
  return ok(new Response(pulled.body, answer.value));
}

/** What the manifest must hash to: the digest that the Pod names, and the one that was asked for. */
function digestsOf(headers: Headers, reference: Reference): readonly Digest[] {
  const text = headers.get("Docker-Content-Digest");
  const named = text === null ? null : parseDigest(text);
  if (named !== null && !named.ok) return [];
  return [named?.value ?? null, isDigest(reference) ? reference : null].flatMap((digest) => digest ?? []);
}
