import type { PodFailure, Refusal } from "../refusal.ts";

const failures: readonly Refusal["reason"][] = [
  "unreachable",
  "silent",
  "breaker-open",
] satisfies readonly PodFailure["reason"][];

/** Whether a call failed because the Pod is down, and not because of what was asked for. */
export const isOutage = ({ reason }: Refusal): boolean => failures.includes(reason);

/**
 * Whether a proxy may give this status because of the form of one request. The status then says nothing about the registry behind the proxy. For
 * example, nginx answers a long header with 400.
 */
export const isOfOneRequest = (status: number): boolean => [400, 408, 413, 414, 421, 429, 431, 494].includes(status);

/** Whether a proxy gives this status when the registry behind it is down. */
export const isOutageStatus = (status: number): boolean => [502, 503, 504].includes(status);

/**
 * If Cloudflare cannot reach a service or read its answer, a call does not throw, but gets a status that only Cloudflare sends. Null for any other
 * status.
 */
export function failureOfCloudflare(status: number): PodFailure | null {
  const text = `Cloudflare answered ${status} in place of the service`;
  // The service did not answer in time.
  if (status === 522 || status === 524) return { reason: "silent", text };
  // The connection broke, or the answer was not HTTP.
  if (status === 520) return { reason: "unreachable", text };
  return [521, 523, 525, 526, 530].includes(status) ? { reason: "unreachable", text, noConnection: true } : null;
}
