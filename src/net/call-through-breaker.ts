import { err, type Result } from "../lib/result.ts";
import { isRead } from "../oci/scope.ts";
import type { Misconfigured, PodFailure } from "../refusal.ts";
import type { Breaker } from "./breaker.ts";
import type { FetchRequest } from "./fetch.ts";
import { isOfOneRequest, isOutageStatus } from "./outage.ts";
import { within } from "./within.ts";

/** A client waits at most this long for a probe's answer. A later answer still lets the next request through. */
const probeWaitMs = 500;
/**
 * After failed calls in a row, the edge pings the service. Without an answer to the ping in this time, the service counts as down. If the answer
 * comes later, the service counts as up again.
 */
const pingWaitMs = 1_000;

type Answer = Result<Response, PodFailure | Misconfigured>;

type BreakerPorts = {
  readonly breaker: Breaker;
  readonly service: string;
  readonly send: (request: FetchRequest) => Promise<Answer>;
  /** Makes a read that every service of this kind answers quickly. */
  readonly ping: () => FetchRequest;
  /** A call that has no answer after this time counts as a failure. Null if such silence says nothing about the service. */
  readonly silenceMs: number | null;
  readonly doWritesCount?: boolean;
  readonly waitUntil: (work: Promise<unknown>) => void;
  readonly clock: () => number;
};

/**
 * Calls a service, unless the breaker says that the service is down. If a write fails, its content may be the cause: a layer may be too large for a
 * proxy, or the service may need long to compute the layer's digest. So failed writes count only with `doWritesCount`.
 */
export async function callThroughBreaker(request: FetchRequest, ports: BreakerPorts): Promise<Answer> {
  const { breaker, service, send, silenceMs, doWritesCount = false, clock } = ports;
  const admission = breaker.admit(service, clock());
  const isOpen =
    admission.kind === "refused" || (admission.kind === "probe" && !(await answersPing(ports, probeWaitMs)));
  if (isOpen) return err({ reason: "breaker-open", text: `not called, because it has just failed: ${admission.why}` });
  const startedAtMs = clock();
  let isCounted = false;
  let judged = Promise.resolve();
  const fail = (why: string) => {
    if (!isCounted && breaker.failed(service, { startedAtMs, nowMs: clock(), why })) judged = judge(ports);
    isCounted = true;
  };
  // While a service hangs, all clients may leave before the deadline. Their calls then end without a result, and the service would never count as
  // failed. So a timer counts the failure after `silenceMs`.
  const timer = silenceMs === null ? null : setTimeout(fail, silenceMs, `no answer within ${silenceMs} ms`);
  const answer = await send(request);
  if (timer !== null) clearTimeout(timer);
  if (answer.ok && isAnswered(answer)) {
    // A proxy may answer 400, for example, while the registry behind it hangs. If the 400 counted as an answer, anyone could hide such an outage by a
    // bad request now and then.
    if (!isOfOneRequest(answer.value.status)) breaker.answered(service, clock());
  } else if (isRead(request.method) || doWritesCount) {
    const why = failureOf(answer, silenceMs !== null);
    if (why !== null) fail(why);
  }
  // We wait for the ping of `judge`, if there is one, so that the breaker has decided before the client asks again.
  await judged;
  return answer;
}

const isAnswered = (answer: Answer): boolean => answer.ok && !isOutageStatus(answer.value.status);

function failureOf(answer: Answer, doesSilenceCount: boolean): string | null {
  if (answer.ok) return `answered ${answer.value.status}`;
  const { reason, text } = answer.error;
  return reason === "unreachable" || (reason === "silent" && doesSilenceCount) ? text : null;
}

async function judge(ports: BreakerPorts): Promise<void> {
  const { breaker, service, clock } = ports;
  const startedAtMs = clock();
  if (!(await answersPing(ports, pingWaitMs))) breaker.failedPing(service, { startedAtMs, nowMs: clock() });
}

/**
 * Whether the service answers a ping within `waitMs`. If the answer is late or the client has left, the breaker still learns that the service is up.
 */
async function answersPing({ breaker, service, send, ping, waitUntil, clock }: BreakerPorts, waitMs: number) {
  const pinged = send(ping()).then((answer) => {
    if (answer.ok) waitUntil(Promise.resolve(answer.value.body?.cancel()).catch(() => null));
    const isThere = isAnswered(answer);
    if (isThere) breaker.answered(service, clock());
    return isThere;
  });
  waitUntil(pinged);
  return (await within(pinged, waitMs)) === true;
}
