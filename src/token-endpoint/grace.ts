import { edgeGrantSeconds, sealEdgeGrant } from "../auth/edge-grant.ts";
import { type VerifyPorts, verifyToken } from "../auth/verify.ts";
import type { EdgeKeys } from "../lib/derive-key.ts";
import { isOutage } from "../net/outage.ts";
import { within } from "../net/within.ts";
import { type Access, covers } from "../oci/scope.ts";
import type { Trace } from "../telemetry/log-line.ts";
import { type AskPorts, askPod, type PodAnswer } from "./ask-pod.ts";
import { credentialsOf } from "./credentials.ts";
import { discard } from "./merge-tokens.ts";
import type { PodQuestion } from "./plan.ts";
import type { Asker, RememberedGrants } from "./remembered-grants.ts";
import type { TokenRequest } from "./request.ts";

export type GracePorts = Omit<AskPorts, "signal"> &
  Pick<VerifyPorts, "tokens" | "rejected"> & {
    readonly config: { readonly edgeKeys: EdgeKeys };
    readonly grants: RememberedGrants;
    readonly waitUntil: (promise: Promise<unknown>) => void;
    readonly trace: Trace;
    /** A request to one Pod can name many repositories. The edge remembers and grants the pulls of at most this many of them. */
    readonly maxRepositories: number;
  };

/** If a token service has not answered after this time, it counts as failing. The time is shorter than the 15 s after which docker gives up. */
const silentAfterMs = 10_000;

/**
 * Asks a Pod, remembers the pulls that the Pod grants, and forgets those that it refuses. While the Pod's token service fails, the edge itself grants
 * the pulls that it remembers.
 */
export async function askWithGrace(
  question: PodQuestion,
  request: TokenRequest,
  ports: GracePorts & Pick<AskPorts, "signal">,
): Promise<PodAnswer> {
  const asker = askerOf(question, request, ports);
  if (asker === null) return askPod(question, request, ports);
  const asked = askPod(question, request, ports).then(async (answer) => {
    await learn(answer, { question, asker, ports });
    return answer;
  });
  const answer = await within(asked, silentAfterMs);
  if (answer !== "late" && !isFailing(answer)) return answer;
  const own = ports.signal.aborted ? null : await grantByEdge(question, request, ports);
  if (own === null) return asked;
  // The call to the Pod goes on, so that the edge learns from a late answer too.
  ports.waitUntil(asked.then((late) => discard({ question, answer: late })));
  return own;
}

/** Returns a grant of the edge's own for those of the asked pulls that the edge remembers. Null if the edge may grant none of them. */
export async function grantByEdge(
  question: PodQuestion,
  request: TokenRequest,
  ports: GracePorts,
): Promise<PodAnswer | null> {
  const { grants, config, now, trace, maxRepositories } = ports;
  const asker = askerOf(question, request, ports);
  // If `decides` is true, the question is a login or asks for more than pull. Only the Pod may grant that.
  if (asker === null || question.decides) return null;
  const { pod, scopes } = question;
  // Otherwise, a user who has lost a right could ask for so many repositories that the token service answers late, and the edge would grant them.
  if (scopes.length > maxRepositories) return null;
  const found = await grants.find(asker, pulled(scopes));
  const lastMs = Math.min(now.getTime() + edgeGrantSeconds * 1000, ...[...found.values()].map(endMsOf(asker)));
  const endsAt = new Date(Math.floor(lastMs / 1000) * 1000);
  if (found.size === 0 || endsAt <= now) return null;
  trace.grace = trace.grace === undefined ? pod.id : `${trace.grace},${pod.id}`;
  const sealed = await sealEdgeGrant({ pod: pod.id, repositories: [...found.keys()], endsAt }, config);
  return { kind: "granted", part: { kind: "edge", pod: pod.id, sealed, endsAt } };
}

const endMsOf =
  ({ pod }: Asker) =>
  (grantedAtMs: number): number =>
    grantedAtMs + pod.outage.graceSeconds * 1000;

/**
 * Returns the Pod and the credentials under which grants are remembered, or null if none are remembered. If a stranger asks for many names, we
 * remember none, because each name costs calls of the cache.
 */
function askerOf(question: PodQuestion, request: TokenRequest, { maxRepositories }: GracePorts): Asker | null {
  const { pod, scopes } = question;
  if (pod.outage.graceSeconds === 0) return null;
  const credentials = credentialsOf(question, request);
  if (credentials === null) return null;
  return credentials[0] === "anonymous" && scopes.length > maxRepositories ? null : { pod, credentials };
}

/** Whether the token service is down. A service that answers 429 is not down, because it only says that the client asks too often. */
function isFailing(asked: PodAnswer): boolean {
  if (asked.kind !== "unavailable") return false;
  const { answer } = asked;
  return answer.ok ? answer.value.status >= 500 : isOutage(answer.error);
}

type Learned = { readonly question: PodQuestion; readonly asker: Asker; readonly ports: GracePorts };

async function learn(answer: PodAnswer, learned: Learned): Promise<void> {
  const { waitUntil } = learned.ports;
  if (answer.kind === "granted" && answer.part.kind === "pod") waitUntil(rememberGranted(answer.part.jwt, learned));
  if (answer.kind !== "refused") return;
  const status = answer.answer.ok ? answer.answer.value.status : 403;
  if (status !== 401 && status !== 403) return;
  const forgotten = forgetRefused(status, learned);
  waitUntil(forgotten);
  // The client gets the refusal only after the grants are forgotten. So no later request of this client finds them.
  await forgotten;
}

/** Remembers the pulls that a token grants. Forgets pulls that were asked for but not granted. A token that does not verify changes nothing. */
async function rememberGranted(jwt: string, learned: Learned): Promise<void> {
  const { question, asker, ports } = learned;
  const { grants, maxRepositories, now } = ports;
  const verdict = await verifyToken(jwt, question.pod, ports);
  if (verdict.kind !== "verified") return;
  const granted = pulled(verdict.access);
  const refused = pulled(question.scopes).filter((name) => !granted.includes(name));
  await Promise.all([grants.remember(asker, granted.slice(0, maxRepositories), now), forgetPulls(refused, learned)]);
}

/** If more pulls were refused than the edge may forget one by one, all grants of these credentials are forgotten. */
const forgetPulls = (refused: readonly string[], { asker, ports: { grants, maxRepositories } }: Learned) =>
  refused.length > maxRepositories ? grants.forgetAll(asker) : grants.forget(asker, refused);

/**
 * A 401 or a refused login is about the credentials, so all grants of these credentials are forgotten. Any other refusal is only about the
 * repositories in the question. All clients without credentials share their grants. So a refusal without credentials counts only if the question was
 * one pull and nothing else. Otherwise anyone could end the grant of a public image by also asking for a push.
 */
async function forgetRefused(status: number, learned: Learned): Promise<void> {
  const { question, asker, ports } = learned;
  const { scopes } = question;
  const isStranger = asker.credentials[0] === "anonymous";
  if (isStranger && !isOnePull(scopes)) return;
  if (!isStranger && (status === 401 || scopes.length === 0)) await ports.grants.forgetAll(asker);
  else await forgetPulls(pulled(scopes), learned);
}

const isOnePull = ([scope, ...others]: readonly Access[]): boolean =>
  others.length === 0 && scope?.actions.length === 1 && scope.actions[0] === "pull";

const pulled = (scopes: readonly Access[]): readonly string[] => {
  const names = new Set(scopes.filter(({ type }) => type === "repository").map(({ name }) => name));
  return [...names].filter((name) => covers(scopes, { type: "repository", name, actions: ["pull"] }));
};
