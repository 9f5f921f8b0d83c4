import { err, type Result } from "../lib/result.ts";
import { isRead } from "../oci/scope.ts";
import type { Misconfigured, PodFailure } from "../refusal.ts";
import type { Breaker } from "./breaker.ts";
import type { FetchRequest } from "./fetch.ts";
import { isOutageStatus } from "./outage.ts";
import { within } from "./within.ts";

/** A client waits this long for a probe. The probe itself goes on, and opens the way for the next request. */
const pingWaitMs = 500;

type Answer = Result<Response, PodFailure | Misconfigured>;

export type BreakerPorts = {
  readonly breaker: Breaker;
  readonly service: string;
  readonly send: (request: FetchRequest) => Promise<Answer>;
  /** A read that every service of this kind answers quickly, whatever it answers. */
  readonly ping: () => FetchRequest;
  /** A call that is silent for this long counts as a failure. Null: its silence says nothing about the service. */
  readonly silenceMs: number | null;
  /** Whether a failure may be the fault of what is asked for, and not of the service. */
  readonly isOfClient: boolean;
  readonly waitUntil: (work: Promise<unknown>) => void;
  readonly clock: () => number;
};

/**
 * Calls a service, unless the breaker holds the service to be down. Only failed reads count against the service, because a write may fail by its content:
 * a layer may be too large for a proxy, or its digest may take long.
 */
export async function callThroughBreaker(request: FetchRequest, ports: BreakerPorts): Promise<Answer> {
  const { breaker, service, send, silenceMs, isOfClient, clock } = ports;
  const admission = breaker.admit(service, clock());
  const isOpen = admission.kind === "refused" || (admission.kind === "probe" && !(await answersPing(ports)));
  if (isOpen) return err({ reason: "breaker-open", text: `not called, because it has just failed: ${admission.why}` });
  const startedAtMs = clock();
  let isCounted = false;
  const fail = (why: string) => {
    if (!isCounted && !isOfClient) breaker.failed(service, { startedAtMs, nowMs: clock(), why });
    isCounted = true;
  };
  // A client may give up before the deadline, so silence is counted while it lasts.
  const timer = silenceMs === null ? null : setTimeout(fail, silenceMs, `no answer within ${silenceMs} ms`);
  const answer = await send(request);
  if (timer !== null) clearTimeout(timer);
  if (isAnswered(answer)) breaker.answered(service, clock());
  else if (isRead(request.method)) {
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
    return isThere;
  });
  waitUntil(pinged);
  const answered = await within(pinged, pingWaitMs);
  isLate = answered === "late";
  return answered === true;
}
