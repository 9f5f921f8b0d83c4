import { ok } from "../../lib/result.ts";
import type { Called } from "../http-call.ts";
import { checkProbeBlob, checkRegistry } from "./registry.ts";
import { checkBlobHosts, checkStores } from "./stores.ts";
import type { Subject } from "./subject.ts";
import { checkThroughEdge, whyNotThroughEdge } from "./through-edge.ts";
import { checkToken, fetchToken, type TokenFailure } from "./token.ts";
import { checkWrites } from "./write.ts";

/** Half of the leeway that registries and edge give a token. */
const maxSkewSeconds = 30;

/** Every check of one Pod; what a fault makes meaningless is left out, so that one fault is one finding. */
export async function examinePod(subject: Subject): Promise<void> {
  const { pod, checks } = subject;
  if (pod.state === "down") return checks.skip("all", "the Pod is recorded as down");
  const clock = new Clock(subject.deployment.edgeAheadSeconds);
  checkBlobHosts(subject);
  const found = await checkWithToken(subject, clock);
  if (subject.probe === null) checks.skip("stores", "the record has no probe");
  // A store is not to blame for a blob that the registry has not either.
  else if (found !== "missing") await checkStores(subject, clock.of("a store"));
  clock.report(subject);
  if (subject.way === "through the edge" || !checks.healthy || found === "unknown") return;
  await checkThroughEdge(subject, found === "there without a token" ? "open" : "asks");
}

/** What the Pod says of the probe's blob. `unknown`: it could not be asked. */
type Found = "there" | "there without a token" | "missing" | "unknown";

const noUser = "set PODCTL_USER and PODCTL_PASSWORD, and name the Pod where they are not the default Pod's";

/** The checks that ask registry and token service. */
async function checkWithToken(subject: Subject, clock: Clock): Promise<Found> {
  const { pod, checks, probe, way, deployment } = subject;
  const registry = way === "direct" ? await checkRegistry(subject, clock.of("the registry")) : null;
  if (way === "direct" && registry === null) return "unknown";
  if (probe === null) {
    checks.skip("token", "the record has no probe: a repository and digest for checks");
    return "unknown";
  }
  const why = way === "direct" ? null : whyNotThroughEdge(subject);
  if (why !== null) {
    checks.skip("token", `only the edge reaches this Pod: ${why}`);
    return "unknown";
  }
  const service = registry?.kind === "asks" ? registry.service : pod.audience;
  const audienceWrong = service !== pod.audience;
  if (audienceWrong)
    checks.found("audience", "audience-wrong", `the registry wants "${service}", the record says "${pod.audience}"`);
  const tokenFor = (actions: readonly string[]) =>
    fetchToken(
      subject,
      service,
      { type: "repository", name: probe.repository, actions },
      clock.of("the token service"),
    );
  const token = registry?.kind === "open" ? ok(null) : await tokenFor(["pull"]);
  if (!token.ok) {
    reportNoToken(subject, token.error);
    return "unknown";
  }
  if (token.value !== null) {
    checks.ok("token", `of ${new URL(way === "direct" ? pod.token : deployment.edge).host}`);
    await checkToken(subject, token.value.jwt, audienceWrong);
  }
  // The edge refuses such a token itself.
  if (way === "through the edge" && !checks.healthy) return "unknown";
  const there = await checkProbeBlob(subject, token.value?.sent ?? null);
  if (deployment.write) await checkWritesWith(subject, token.value === null ? null : tokenFor);
  if (!there) return "missing";
  return token.value === null ? "there without a token" : "there";
}

function reportNoToken({ checks, user }: Subject, { finding, text }: TokenFailure): void {
  // No fault of a Pod: nobody asked it as a user of its own.
  if (user === null && finding === "credentials-refused") checks.skip("token", `${text}; ${noUser}`);
  else checks.found("token", finding, text);
}

/** `tokenFor` null: the registry asks for none. */
async function checkWritesWith(
  subject: Subject,
  tokenFor: ((actions: readonly string[]) => ReturnType<typeof fetchToken>) | null,
): Promise<void> {
  if (subject.way !== "direct") return subject.checks.skip("writes", "only the edge reaches this Pod");
  const token = tokenFor === null ? null : await tokenFor(["pull", "push", "delete"]);
  if (token?.ok === false) return subject.checks.skip("writes", token.error.text);
  await checkWrites(subject, token?.value.sent ?? null);
}

/** The clocks of all that answered, against the edge's: one finding for all of a Pod. */
class Clock {
  readonly #edgeAheadSeconds: number;
  readonly #skewSeconds = new Map<string, number>();

  constructor(edgeAheadSeconds: number) {
    this.#edgeAheadSeconds = edgeAheadSeconds;
  }

  of(who: string): (seen: Called) => void {
    return ({ aheadSeconds }) => {
      if (aheadSeconds === null) return;
      const skew = aheadSeconds - this.#edgeAheadSeconds;
      if (Math.abs(skew) >= Math.abs(this.#skewSeconds.get(who) ?? 0)) this.#skewSeconds.set(who, skew);
    };
  }

  report({ checks }: Subject): void {
    if (this.#skewSeconds.size === 0) return;
    const off = [...this.#skewSeconds].filter(([, seconds]) => Math.abs(seconds) > maxSkewSeconds);
    const said = off.map(([who, seconds]) => `${who} is ${Math.abs(seconds)} s ${seconds > 0 ? "ahead" : "behind"}`);
    if (off.length > 0) checks.found("clock", "clock-skew", said.join(", "));
    else checks.ok("clock", `within ${maxSkewSeconds} s`);
  }
}
