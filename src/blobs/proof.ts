import type { Pod } from "../directory/directory.ts";
import { type Digest, digestParts } from "../oci/digest.ts";

/**
 * Whether a Pod's answer to a HEAD, made with the client's own token, proves that the digest belongs to the repository: it found the
 * blob there (200), or sends to one of its stores for this very digest (302, 307). Whatever else a proxy in between answers proves nothing.
 */
export function proves(response: Response, digest: Digest, pod: Pod): boolean {
  if (response.status === 200) {
    const named = response.headers.get("Docker-Content-Digest");
    return named === null || named === digest;
  }
  if (response.status !== 302 && response.status !== 307) return false;
  const location = redirectTarget(response, pod);
  return location !== null && new URL(location).pathname.includes(digestParts(digest).encoded);
}

/** A redirect's target, absolute once resolved against the Pod; null unless it is one of the Pod's blob hosts. */
export function redirectTarget(response: Response, pod: Pod): string | null {
  const location = response.headers.get("Location");
  if (location === null || !URL.canParse(location, pod.registry)) return null;
  const url = new URL(location, pod.registry);
  return pod.blobs.hosts.includes(url.host) ? url.href : null;
}
