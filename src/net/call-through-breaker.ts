import { err, type Result } from "../lib/result.ts";
import { isRead } from "../oci/scope.ts";
import type { Misconfigured, PodFailure } from "../refusal.ts";
import type { Breaker } from "./breaker.ts";
import type { FetchRequest } from "./fetch.ts";
import { isOutageStatus } from "./outage.ts";
import { within } from "./within.ts";

/** A client waits at most this long for a probe's answer. A later answer still counts, and lets the next request through. */
const pingWaitMs = 500;

type Answer = Result<Response, PodFailure | Misconfigured>;

export type BreakerPorts = {
  readonly breaker: Breaker;
  readonly service: string;
  readonly send: (request: FetchRequest) => Promise<Answer>;
  /** Makes the probe's request: a read that every service of this kind answers quickly. */
  readonly ping: () => FetchRequest;
  /** A call that has no answer after this time counts as a failure. Null if such silence says nothing about the service. */
  readonly silenceMs: number | null;
  /** Whether a write that fails counts against the service, too. */
  readonly doWritesCount?: boolean;
  /** Whether a failure may come from what the client asks for. Such a failure does not count against the service. */
  readonly isOfClient: boolean;
  readonly waitUntil: (work: Promise<unknown>) => void;
  readonly clock: () => number;
};

/**
 * Calls a service, unless the breaker says that the service is down. Usually only failed reads count against the service, because a write may fail for its
 * content: a layer may be too large for a proxy, or its digest may take long.
 */
export async function callThroughBreaker(request: FetchRequest, ports: BreakerPorts): Promise<Answer> {
  const { breaker, service, send, silenceMs, isOfClient, doWritesCount = false, clock } = ports;
  const admission = breaker.admit(service, clock());
  const isOpen = admission.kind === "refused" || (admission.kind === "probe" && !(await answersPing(ports)));
  if (isOpen) return err({ reason: "breaker-open", text: `not called, because it has just failed: ${admission.why}` });
  const startedAtMs = clock();
  let isCounted = false;
  const fail = (why: string) => {
    if (!isCounted && !isOfClient) breaker.failed(service, { startedAtMs, nowMs: clock(), why });
    isCounted = true;
  };
  // A client may leave before the deadline, so silence counts as a failure before the call ends.
  const timer = silenceMs === null ? null : setTimeout(fail, silenceMs, `no answer within ${silenceMs} ms`);
  const answer = await send(request);
  if (timer !== null) clearTimeout(timer);
  if (isAnswered(answer)) breaker.answered(service, clock());
  else if (isRead(request.method) || doWritesCount) {
    const why = failureOf(answer, silenceMs !== null);
    if (why !== null) fail(why);
  }
  return answer;
}

const isAnswered = (answer: Answer): boolean => answer.ok && !isOutageStatus(answer.value.status);

function failureOf(answer: Answer, doesSilenceCount: boolean): string | null {
  if (answer.ok) return `answered ${answer.value.status}`;
  const { reason, text } = answer.error;
  return reason === "unreachable" || (reason === "silent" && doesSilenceCount) ? text : null;
}

async function answersPing({ breaker, service, send, ping, waitUntil, clock }: BreakerPorts): Promise<boolean> {
  let isLate = false;
  const pinged = send(ping()).then((answer) => {
    if (answer.ok) waitUntil(Promise.resolve(answer.value.body?.cancel()).catch(() => null));
    const isThere = isAnswered(answer);
    if (isThere && isLate) breaker.answered(service, clock());
    // A client that has its turn and leaves must not keep the service closed to all others.
    else if (isThere) breaker.answeredProbe(service);
    return isThere;
  });
  waitUntil(pinged);
  const answered = await within(pinged, pingWaitMs);
  isLate = answered === "late";
  return answered === true;
}
