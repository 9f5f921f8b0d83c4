import type { Result } from "../lib/result.ts";
import type { PodFailure } from "../refusal.ts";

/** Most writes are answered before the first ping. So a Pod gets few requests that no client sent. */
const firstPingAfterMs = 1_000;
/** A write may take five minutes, so it causes at most 20 pings. These fit into the 50 calls that a request may make (Workers' free plan). */
const nextPingAfterMs = 15_000;

/** This is longer than the edge waits for a small read. So a Pod that is slow, but fast enough for reads, does not count as one that hangs. */
const pingDeadlineMs = 15_000;

/** Asks the service for something that it answers at once. The signal ends the call. */
export type Ping = (options: {
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
}) => Promise<Result<Response, { readonly reason: string }>>;

const lost: PodFailure = { reason: "silent", text: "no answer to a write, and no answer to a later ping" };

/**
 * Watches a service while a write waits for its answer, and returns a function that ends the watch. Calls `onLost` when the service leaves a ping
 * unanswered, because such a service has probably lost the write too.
 */
export function watchService(ping: Ping, onLost: (failure: PodFailure) => void): () => void {
  const ended = new AbortController();
  const look = async () => {
    const answer = await ping({ deadlineMs: pingDeadlineMs, signal: ended.signal });
    if (answer.ok) await answer.value.body?.cancel().catch(() => {});
    if (ended.signal.aborted) return;
    // We go on waiting if a ping is refused, because a service that is about to stop may first finish its last work.
    if (!answer.ok && answer.error.reason === "silent") onLost(lost);
    else timer = setTimeout(() => void look(), nextPingAfterMs);
  };
  let timer = setTimeout(() => void look(), firstPingAfterMs);
  return () => {
    clearTimeout(timer);
    ended.abort();
  };
}
