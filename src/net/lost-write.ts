import type { Result } from "../lib/result.ts";
import type { PodFailure } from "../refusal.ts";

/** Most writes are answered sooner, and a Pod should not be asked for more than clients ask for. */
const firstPingAfterMs = 1_000;
/** A write may take five minutes, so it has at most 20 pings. A request may make 50 calls in all (Workers' free plan). */
const nextPingAfterMs = 15_000;

/** Longer than any deadline of a small read, so that a Pod which is slow with everything is waited for. */
const pingDeadlineMs = 15_000;

/** Asks the service for something that it answers at once. The signal ends the call. */
export type Ping = (options: {
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
}) => Promise<Result<Response, { readonly reason: string }>>;

const lost: PodFailure = { reason: "silent", text: "no answer, and none to a ping that was sent later" };

/**
 * Watches a service while a write waits for its answer. `onLost` is called when the service leaves a ping unanswered: it has hung for a while, so it has
 * probably lost the write too, and will never answer it. A service that answers pings may need long for a write. One that refuses pings may only be about
 * to stop, and ends its last work first. Returns a function that ends the watch.
 */
export function watchService(ping: Ping, onLost: (failure: PodFailure) => void): () => void {
  const ended = new AbortController();
  const look = async () => {
    const answer = await ping({ deadlineMs: pingDeadlineMs, signal: ended.signal });
    if (answer.ok) await answer.value.body?.cancel().catch(() => {});
    if (ended.signal.aborted) return;
    if (!answer.ok && answer.error.reason === "silent") onLost(lost);
    else timer = setTimeout(() => void look(), nextPingAfterMs);
  };
  let timer = setTimeout(() => void look(), firstPingAfterMs);
  return () => {
    clearTimeout(timer);
    ended.abort();
  };
}
