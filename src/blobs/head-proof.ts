import type { Pod } from "../directory/directory.ts";
import { type Digest, isStoredAt } from "../oci/digest.ts";
import { storeOrigin } from "../signers/index.ts";

/** Whether a Pod's answer to a HEAD with the client's own token proves that the repository has the blob. */
export function provesBlob(response: Pick<Response, "status" | "headers">, digest: Digest, pod: Pod): boolean {
  // A 200 without the digest may come from a proxy: Envoy answers its own errors with 200 if a request looks like gRPC.
  if (response.status === 200) return response.headers.get("Docker-Content-Digest") === digest;
  if (response.status !== 302 && response.status !== 307) return false;
  const target = onBlobHost(response.headers.get("Location"), pod);
  return target !== null && isStoredAt(target.pathname, digest);
}

/**
 * Returns the URL to which a Pod's own redirect of a blob leads. Null unless the URL is on one of the Pod's blob hosts, with https or with the
 * protocol of the Pod's registry.
 */
export function redirectTarget(location: string | null, pod: Pod): URL | null {
  const target = onBlobHost(location, pod);
  const protocols = ["https:", new URL(pod.registry).protocol];
  return target !== null && protocols.includes(target.protocol) ? target : null;
}

function onBlobHost(location: string | null, { registry, blobs }: Pod): URL | null {
  if (location === null || !URL.canParse(location, registry)) return null;
  const url = new URL(location, registry);
  const isStore = (origin: string | null) => origin !== null && new URL(origin).host === url.host;
  return blobs.hosts.includes(url.host) || blobs.stores.some((store) => isStore(storeOrigin(store))) ? url : null;
}
