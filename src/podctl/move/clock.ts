import { maxSkewMs } from "../../directory/moves.ts";
import { CliFailure } from "../failure.ts";
import { call, isHealthy } from "../http-call.ts";

const maxSkewSeconds = maxSkewMs / 1_000;

/**
 * Throws a CliFailure if podctl's clock differs too much from the edge's. podctl writes into KV the time at which a phase begins, and each edge goes
 * by its own clock.
 */
export async function refuseWrongClock(edge: string): Promise<void> {
  const answer = await call(`${edge}/-/health`, { deadlineMs: maxSkewMs - 1_000 });
  const aheadSeconds = answer.ok && isHealthy(answer.value) ? answer.value.aheadSeconds : null;
  if (aheadSeconds === null) {
    const why = answer.ok ? "does not answer as the edge does" : answer.error;
    throw new CliFailure(
      `the clock of this machine cannot be compared with that of the edge (${edge}: ${why}); run the command again when the edge answers`,
    );
  }
  if (Math.abs(aheadSeconds) <= maxSkewSeconds) return;
  const differs = `${Math.abs(aheadSeconds)} s ${aheadSeconds > 0 ? "behind" : "ahead of"}`;
  throw new CliFailure(
    `the clock of this machine is ${differs} that of the edge, and a phase of a move must begin at the same time everywhere; ` +
      "set the clock by NTP, and run the command again",
  );
}
