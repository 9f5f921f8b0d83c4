import type { FetchRequest } from "../net/fetch.ts";
import type { RegistryEndpoint } from "../oci/endpoint.ts";
import { isRead } from "../oci/scope.ts";
import { uploadedBytes } from "./upload-size.ts";

/**
 * How long the edge waits for a Pod, from the end of the request's body to the answer's headers. A list may take long, because some registries read every
 * tag or name before they list the first. A write may take as long as a registry needs for a blob's digest or a manifest's tags. The deadline of a write
 * ends only the client's wait.
 */
const deadlinesMs = { read: 10_000, manifest: 30_000, list: 120_000, write: 300_000 } as const;

/** The deadline for a call to a Pod's registry. */
export function registryDeadlineMs({ kind, method }: RegistryEndpoint): number {
  if (!isRead(method)) return deadlinesMs.write;
  if (kind === "manifest") return deadlinesMs.manifest;
  const isList = ["catalog", "tags", "referrers"].includes(kind) || kind.startsWith("gitlab-");
  return isList ? deadlinesMs.list : deadlinesMs.read;
}

/**
 * A Pod that hung for a moment has lost a write and never answers it, and docker waits for as long as the edge does before it repeats its layer. A write of
 * few bytes ends within seconds. Some clients give up early, too: containerd after 30 s.
 */
const leastUploadMs = 12_000;
/** Registries read a layer again for its digest or copy it, and proxies store it before they pass it on. All of them do 20 MB in a second. */
const uploadBytesPerMs = 20_000;

/**
 * The deadline for a write of a push, by how many bytes its body had, where that is shorter than the deadline for every write. Null: it is not, as for a
 * manifest and a mount. A blob's last request counts with what was uploaded before it.
 */
export function pushDeadlineMs(endpoint: RegistryEndpoint): ((sentBytes: number) => number) | null {
  const { kind, method } = endpoint;
  const isPatch = kind === "upload" && method === "PATCH";
  const isLast = kind === "upload" && method === "PUT";
  const isStart = endpoint.kind === "upload-start" && endpoint.mount === null;
  const bytesBefore = isStart || isPatch ? 0 : isLast ? uploadedBytes(endpoint.query) : null;
  return bytesBefore === null ? null : (bytes) => leastUploadMs + Math.ceil((bytesBefore + bytes) / uploadBytesPerMs);
}

/** Returns after how long the silence of a call counts as a failure of the service. Null means never, because a list or a write may take long. */
export const silenceMs = ({ method, deadlineMs }: Pick<FetchRequest, "method" | "deadlineMs">): number | null =>
  isRead(method) && deadlineMs <= tokenDeadlineMs ? deadlinesMs.read : null;

/** The deadline for a call to a Pod's token service. */
export const tokenDeadlineMs = 30_000;
