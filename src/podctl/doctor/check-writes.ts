import { createHash, randomBytes } from "node:crypto";
import type { Pod } from "../../directory/directory.ts";
import type { Result } from "../../lib/result.ts";
import { forwardedHeaders } from "../../net/headers.ts";
import { answerOf, bearer, type Called, call } from "../http-call.ts";
import type { PodUnderTest, PodWithProbe, Repository } from "./pod-under-test.ts";

const imageType = "application/vnd.oci.image.manifest.v1+json";
const blobBytes = 32;

/** Makes the checks that write, only in the probe repository, and removes what they wrote. */
export async function checkWrites(tested: PodWithProbe, token: string | null): Promise<void> {
  const { pod, checks, probe, deployment } = tested;
  const repository: Repository = {
    url: `${pod.registry}/v2/${probe.repository}`,
    headers: {
      ...bearer(token),
      // We send the X-Forwarded headers that the edge sends. A registry that trusts them puts the edge's host into its Location, and `startUpload`
      // checks that host.
      ...forwardedHeaders(new Request(deployment.edge)),
    },
  };
  const place = await startUpload(tested, repository, new URL(deployment.edge).host);
  if (place === null) return;
  const blob = new Uint8Array(randomBytes(blobBytes));
  const digest = `sha256:${createHash("sha256").update(blob).digest("hex")}`;
  if (!(await sendBlob(tested, repository, { place, blob, digest }))) return;
  checks.ok("upload", "a blob was accepted");
  const removed = await call(`${repository.url}/blobs/${digest}`, { method: "DELETE", headers: repository.headers });
  if (answerOf(removed) !== 202) {
    const text = `DELETE of a blob is answered ${answerOf(removed)}; ${digest} stays in "${probe.repository}"`;
    checks.found("deletes", "deletes-off", text);
    return checks.skip("manifests", "a written blob could not be removed again");
  }
  checks.ok("deletes", "on");
  // The storage still has the deleted blob but the repository does not, as if the blob belonged to another repository. If the registry accepts a
  // manifest that names this blob, a manifest proves nothing. The record must then have `proof: "head"`.
  await checkManifests(tested, repository, digest);
}

/** OCI end-4a. Returns the upload's Location at the registry, or null if the registry refuses the upload. */
async function startUpload(
  { pod, checks }: PodUnderTest,
  { url, headers }: Repository,
  edgeHost: string,
): Promise<URL | null> {
  const uploads = new URL(`${url}/blobs/uploads/`);
  const started = await call(uploads, { method: "POST", headers });
  const location = locationIn(started, uploads);
  if (location === null) {
    const isUntested = answerOf(started) === 405 && pod.blobs.proof === "manifest";
    if (isUntested) checks.found("manifests", "manifests-untested", "the registry takes no uploads (405)");
    else {
      const text = `the upload's POST is answered ${answerOf(started)}; want 202 with a Location`;
      checks.found("upload", "push-refused", text);
    }
    return null;
  }
  const own = new URL(pod.registry);
  if (location.host !== edgeHost && location.host !== own.host) {
    checks.found(
      "forwarded host",
      "location-foreign",
      `an upload's Location is on "${location.host}"; want "${edgeHost}" or "${own.host}"`,
    );
  } else {
    checks.ok("forwarded host", location.host === edgeHost ? "trusted" : "not trusted; the edge rewrites the Location");
  }
  return atRegistry(location, pod);
}

type Upload = { readonly place: URL; readonly blob: Uint8Array<ArrayBuffer>; readonly digest: string };

/**
 * Uploads a blob as docker does: by a PATCH without a Content-Length, and then an empty PUT. Some proxies and tunnels refuse such a PATCH. Returns
 * whether the registry has accepted the blob.
 */
async function sendBlob(
  { pod, checks }: PodUnderTest,
  repository: Repository,
  { place, blob, digest }: Upload,
): Promise<boolean> {
  const headers = { ...repository.headers, "Content-Type": "application/octet-stream" };
  const patched = await call(place, { method: "PATCH", headers, body: new Blob([blob]).stream() });
  const location = locationIn(patched, place);
  if (location === null) {
    const text = `the upload's PATCH without a Content-Length is answered ${answerOf(patched)}; want 202 with a Location`;
    checks.found("upload", "push-refused", text);
    return false;
  }
  const end = atRegistry(location, pod);
  end.searchParams.set("digest", digest);
  const put = await call(end, { method: "PUT", headers });
  const isAccepted = answerOf(put) === 201;
  if (!isAccepted) checks.found("upload", "push-refused", `the upload's PUT is answered ${answerOf(put)}`);
  return isAccepted;
}

/** Returns where an upload goes on after a request to `asked`. Null if the answer is not 202 with a Location. */
function locationIn(answer: Result<Called, string>, asked: URL): URL | null {
  const text = answer.ok && answer.value.status === 202 ? answer.value.headers.get("Location") : null;
  return text === null ? null : URL.parse(text, asked);
}

/** Returns the same path and query at the registry. Another host must not get the token. */
function atRegistry({ pathname, search }: URL, { registry }: Pod): URL {
  const place = new URL(registry);
  // We set path and query one by one, because `new URL(path, registry)` would take a path such as `//other.example/x` for another host.
  place.pathname = pathname;
  place.search = search;
  return place;
}

/**
 * OCI end-7. `blob` is not in the repository, so the registry should refuse a manifest that names it. We push the manifest by digest, so that no tag
 * appears.
 */
async function checkManifests(
  { pod, checks }: PodUnderTest,
  { url, headers }: Repository,
  blob: string,
): Promise<void> {
  const descriptor = { digest: blob, size: blobBytes };
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: imageType,
    config: { ...descriptor, mediaType: "application/vnd.oci.image.config.v1+json" },
    layers: [{ ...descriptor, mediaType: "application/vnd.oci.image.layer.v1.tar" }],
  });
  const target = `${url}/manifests/sha256:${createHash("sha256").update(manifest).digest("hex")}`;
  const put = await call(target, { method: "PUT", headers: { ...headers, "Content-Type": imageType }, body: manifest });
  if (!put.ok) return checks.skip("manifests", `a manifest's PUT failed: ${put.error}`);
  if (put.value.status !== 201) {
    const code = /"(MANIFEST_BLOB_UNKNOWN|BLOB_UNKNOWN)"/.exec(put.value.text)?.[1];
    if (code !== undefined)
      return checks.ok("manifests", `a manifest whose blob is not in the repository is refused: ${code}`);
    return checks.skip("manifests", `a manifest's PUT is answered ${put.value.status}, which says nothing about blobs`);
  }
  const removed = await call(target, { method: "DELETE", headers });
  const rest = answerOf(removed) === 202 ? "" : "; it could not be deleted again";
  const text = `a manifest whose blobs are not in the repository is accepted${rest}`;
  if (pod.blobs.proof === "head") return checks.ok("manifests", `${text}; proof must stay "head"`);
  checks.found("manifests", "manifests-lenient", text);
}
