import type { FetchRequest } from "../net/fetch.ts";
import type { RegistryEndpoint } from "../oci/endpoint.ts";
import { isRead } from "../oci/scope.ts";
import { uploadedBytes } from "./upload-size.ts";

/**
 * How long the edge waits for a Pod, from the end of the request's body to the answer's headers. A list may take long, because some registries read
 * every tag or name before they answer. A write may take long, because a registry may compute a blob's digest or look through all tags. After the
 * deadline of a write, the Pod may still finish the write.
 */
const deadlinesMs = {
  read: 10_000,
  // containerd waits 30 s for headers. If the Pod is silent, 5 s are left for a manifest from the edge's caches.
  manifest: 25_000,
  list: 120_000,
  write: 300_000,
} as const;

export function registryDeadlineMs({ kind, method }: RegistryEndpoint): number {
  if (!isRead(method)) return deadlinesMs.write;
  if (kind === "manifest") return deadlinesMs.manifest;
  const isList = ["catalog", "tags", "referrers"].includes(kind) || kind.startsWith("gitlab-");
  return isList ? deadlinesMs.list : deadlinesMs.read;
}

/**
 * The deadline for an upload of few bytes. A Pod that hung for a moment may have lost the upload, and Docker sends its layer again only after the
 * edge gives up. So the deadline is short, and below the 30 s after which containerd gives up by itself.
 */
const leastUploadMs = 12_000;
/**
 * The deadline grows by 1 ms for this many bytes. Before it answers, a registry may read or copy the whole layer, and a proxy may store it. All of
 * them do at least 20 MB in a second.
 */
const uploadBytesPerMs = 20_000;

/**
 * Returns an upload's deadline as a function of the length of the request's body. If `registryDeadlineMs` is shorter, that deadline applies. For the
 * PUT that completes a blob, the bytes of earlier requests count too; null if their number is not known. Null also for requests that send no part of
 * a blob, such as a mount.
 */
export function pushDeadlineMs(endpoint: RegistryEndpoint): ((sentBytes: number) => number) | null {
  const { kind, method } = endpoint;
  const isPatch = kind === "upload" && method === "PATCH";
  const isLast = kind === "upload" && method === "PUT";
  const isStart = endpoint.kind === "upload-start" && endpoint.mount === null;
  const bytesBefore = isStart || isPatch ? 0 : isLast ? uploadedBytes(endpoint.query) : null;
  return bytesBefore === null ? null : (bytes) => leastUploadMs + Math.ceil((bytesBefore + bytes) / uploadBytesPerMs);
}

/**
 * A read without an answer counts as a failure after this time. After the third failure in a row, the edge pings the service and waits a second for
 * the answer to the ping. So before the read's deadline ends, the edge knows whether the service is down.
 */
const silentAfterMs = deadlinesMs.read - 1_000;

/**
 * Returns after how many milliseconds of silence a call counts as a failure of the service. Null (never) for a list or a write to a registry, which
 * may take long.
 */
export const silenceMs = ({ deadlineMs }: Pick<FetchRequest, "deadlineMs">): number | null =>
  deadlineMs <= tokenDeadlineMs ? silentAfterMs : null;

export const tokenDeadlineMs = 30_000;
