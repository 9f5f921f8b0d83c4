import type { FetchRequest } from "../net/fetch.ts";
import type { RegistryEndpoint } from "../oci/endpoint.ts";
import { isRead } from "../oci/scope.ts";

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

/** Returns after how long the silence of a call counts as a failure of the service. Null means never, because a list or a write may take long. */
export const silenceMs = ({ method, deadlineMs }: Pick<FetchRequest, "method" | "deadlineMs">): number | null =>
  isRead(method) && deadlineMs <= tokenDeadlineMs ? deadlinesMs.read : null;

/** The deadline for a call to a Pod's token service. */
export const tokenDeadlineMs = 30_000;
