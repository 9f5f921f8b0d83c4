import type { FetchRequest } from "../net/fetch.ts";
import type { RegistryEndpoint } from "../oci/endpoint.ts";
import { isRead } from "../oci/scope.ts";
import { uploadedBytes } from "./upload-size.ts";

/**
 * How long the edge waits for a Pod, from the end of the request's body to the answer's headers. A list may take long, because some registries read every tag
 * or name before they list the first. A write may take as long as a registry needs to handle a blob's digest or a manifest's tags. When the deadline of a
 * write passes, only the client's wait ends, and the write goes on.
 */
const deadlinesMs = { read: 10_000, manifest: 30_000, list: 120_000, write: 300_000 } as const;

export function registryDeadlineMs({ kind, method }: RegistryEndpoint): number {
  if (!isRead(method)) return deadlinesMs.write;
  if (kind === "manifest") return deadlinesMs.manifest;
  const isList = ["catalog", "tags", "referrers"].includes(kind) || kind.startsWith("gitlab-");
  return isList ? deadlinesMs.list : deadlinesMs.read;
}

/**
 * The least deadline for an upload. A Pod that hung for a moment may have lost a write, and will then never answer it. Docker sends its layer again
 * only after the edge has given up, so the deadline must be short. A write of few bytes ends within seconds, so this time is enough for it. It is
 * also shorter than the 30 s after which containerd gives up by itself.
 */
const leastUploadMs = 12_000;
/**
 * Registries read a layer again for its digest, or copy it. Proxies store a layer before they pass it on. All of them do at least 20 MB in a second.
 */
const uploadBytesPerMs = 20_000;

/**
 * Returns the deadline for a request of an upload, as a function of the body's bytes. For the request that completes a blob, the bytes that were
 * uploaded before it count too. Null for a manifest, for a mount, and if the earlier bytes are not known. The edge never waits longer than
 * `deadlinesMs.write`.
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
 * A read without an answer counts as a failure after this time. After the third failure in a row, the edge pings the service and waits up to a second
 * for an answer. So the edge knows whether the service is down before the read's own deadline ends.
 */
const silentAfterMs = deadlinesMs.read - 1_000;

/** Returns after how many milliseconds of silence a call counts as a failure of the service. Null means never, because a list or a write may take long. */
export const silenceMs = ({ method, deadlineMs }: Pick<FetchRequest, "method" | "deadlineMs">): number | null =>
  isRead(method) && deadlineMs <= tokenDeadlineMs ? silentAfterMs : null;

export const tokenDeadlineMs = 30_000;
