import type { FetchRequest } from "../net/fetch.ts";
import type { RegistryEndpoint } from "../oci/endpoint.ts";
import { isRead } from "../oci/scope.ts";
import { uploadedBytes } from "./upload-size.ts";

/**
 * How long the edge waits for a Pod, from the end of the request's body to the answer's headers. A list takes long where a registry reads every tag
 * or name, and a write where it computes a digest or looks through all tags. After the deadline of a write, the Pod may still finish the write.
 */
const deadlinesMs = { read: 10_000, manifest: 30_000, list: 120_000, write: 300_000 } as const;

export function registryDeadlineMs({ kind, method }: RegistryEndpoint): number {
  if (!isRead(method)) return deadlinesMs.write;
  if (kind === "manifest") return deadlinesMs.manifest;
  const isList = ["catalog", "tags", "referrers"].includes(kind) || kind.startsWith("gitlab-");
  return isList ? deadlinesMs.list : deadlinesMs.read;
}

/**
 * The deadline for an upload of few bytes, shorter than the 30 s after which containerd gives up by itself. If a Pod that hung for a moment lost the
 * upload, Docker sends its layer again only after the edge has given up.
 */
const leastUploadMs = 12_000;
/**
 * The deadline grows by 1 ms for this many bytes. Registries that read a layer again or copy it, and proxies that store it first, do at least 20 MB
 * in a second.
 */
const uploadBytesPerMs = 20_000;

/**
 * Returns an upload's deadline as a function of the body's length, to which the earlier bytes are added for the PUT that completes a blob. Null if
 * their number is not known, and for requests other than POST, PATCH and PUT of an upload.
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
 * A read without an answer counts as a failure after this time. One second is left for a ping after the third failure in a row, so the edge knows in
 * time whether the service is down.
 */
const silentAfterMs = deadlinesMs.read - 1_000;

/**
 * Returns after how many milliseconds of silence a call counts as a failure of the service. Null (never) for a list or a write, because they may take
 * long.
 */
export const silenceMs = ({ method, deadlineMs }: Pick<FetchRequest, "method" | "deadlineMs">): number | null =>
  isRead(method) && deadlineMs <= tokenDeadlineMs ? silentAfterMs : null;

export const tokenDeadlineMs = 30_000;
