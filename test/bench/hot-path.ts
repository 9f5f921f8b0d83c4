/** What a request that needs no look-up costs, compared with a bare Worker that gives the same answer. */
import type { Stack } from "../../src/local/stack.ts";
import type { Teardown } from "../../src/local/teardown.ts";
import { createClient, layersOf } from "../support/client.ts";
import { manifestType } from "../support/image.ts";
import { amount, type Finding, portable } from "./finding.ts";
import { Load, type Target } from "./load.ts";
import { measureRounds, median, medianRatio, type Rounds, type Subject } from "./rounds.ts";
import { type LongToken, startBenchStack, startBenchWorker, withTeardown } from "./stage.ts";

const repository = "acme/private";
const manifest = `/v2/${repository}/manifests/1`;

/**
 * With one request at a time, workerd sleeps between two requests, as it does if there is little traffic. Each request then also pays for waking
 * workerd.
 */
export const benchHotPath = (rounds: Rounds): Promise<readonly Finding[]> =>
  withTeardown(async (teardown, dir) => {
    const stack = await startBenchStack(teardown, dir);
    const token = await stack.longToken("pod-a", repository);
    const servers = await startServers(stack, { targets: await warmTargets(stack, token), token }, { teardown, dir });
    const findings: Finding[] = [];
    for (const [how, connections] of [
      ["", 8],
      [", one at a time", 1],
    ] as const) {
      const load = new Load(connections);
      teardown.add({ stop: async () => load.close() });
      findings.push(...findingsOf(await measureRounds(subjectsOf(servers, load), rounds), how));
    }
    return findings;
  });

const findingsOf = (us: Readonly<Record<keyof Servers, readonly number[]>>, how: string): readonly Finding[] => [
  portable(`warm blob redirect ÷ bare 307${how}`, medianRatio(us.redirect, us.bareRedirect), 1.3),
  portable(`warm manifest forward ÷ bare proxy${how}`, medianRatio(us.forward, us.bareProxy), 1.15),
  portable(`401 challenge ÷ bare 307${how}`, medianRatio(us.challenge, us.bareRedirect), 1.2),
  amount(`warm blob redirect${how}, µs of CPU`, median(us.redirect)),
  amount(`warm manifest forward${how}, µs of CPU`, median(us.forward)),
  amount(`401 challenge${how}, µs of CPU`, median(us.challenge)),
  amount(`bare 307${how}, µs of CPU`, median(us.bareRedirect)),
  amount(`bare proxy${how}, µs of CPU`, median(us.bareProxy)),
];

type Targets = Readonly<Record<"redirect" | "forward" | "challenge", Target>>;

/** The isolate remembers all that these requests need, because the manifest and the blob were asked for before. */
async function warmTargets(stack: Stack, { bundle }: LongToken): Promise<Targets> {
  const [layer] = await layersOf(stack, repository);
  const blob = `/v2/${repository}/blobs/${layer?.digest ?? ""}`;
  await createClient(stack.edge).get(blob, bundle);
  const withoutToken = { Accept: manifestType, "User-Agent": "docker/27.3.1" };
  const headers = { ...withoutToken, Authorization: `Bearer ${bundle}` };
  return {
    redirect: { url: stack.edge + blob, headers, status: 307 },
    forward: { url: stack.edge + manifest, headers, status: 200 },
    challenge: { url: stack.edge + manifest, headers: withoutToken, status: 401 },
  };
}

type Server = { readonly pid: number; readonly target: Target };
type Servers = Readonly<Record<"redirect" | "challenge" | "bareRedirect" | "forward" | "bareProxy", Server>>;

async function startServers(
  stack: Stack,
  { targets, token }: { readonly targets: Targets; readonly token: LongToken },
  { teardown, dir }: { readonly teardown: Teardown; readonly dir: string },
): Promise<Servers> {
  const { redirect, forward, challenge } = targets;
  const bareWorker = async (target: Target, POD: string | null) => {
    const { line, headers } = await answerOf(stack, target);
    const constants = { LINE: line, HEADERS: headers, POD };
    return startBenchWorker(teardown, dir, { file: "bare-worker.ts", constants });
  };
  const bareRedirect = await bareWorker(redirect, null);
  const bareProxy = await bareWorker(forward, stack.pods["pod-a"].registry.url);
  // The bare proxy gets the Pod's own token, because it cannot take a token out of a bundle.
  const podHeaders = { ...forward.headers, Authorization: `Bearer ${token.jwt}` };
  const at = (target: Target, url: string): Target => ({ ...target, url: url + new URL(target.url).pathname });
  const pid = stack.workerdPid();
  return {
    redirect: { pid, target: redirect },
    challenge: { pid, target: challenge },
    bareRedirect: { pid: bareRedirect.pid, target: at(redirect, bareRedirect.url) },
    forward: { pid, target: forward },
    bareProxy: { pid: bareProxy.pid, target: { ...at(forward, bareProxy.url), headers: podHeaders } },
  };
}

const subjectsOf = (servers: Servers, load: Load): Readonly<Record<keyof Servers, Subject>> => {
  const subject = ({ pid, target }: Server): Subject => ({ pid, run: (count) => load.send(count, () => target) });
  const { redirect, challenge, bareRedirect, forward, bareProxy } = servers;
  return {
    redirect: subject(redirect),
    challenge: subject(challenge),
    bareRedirect: subject(bareRedirect),
    forward: subject(forward),
    bareProxy: subject(bareProxy),
  };
};

/** The bare Worker repeats the edge's headers and log line. */
async function answerOf(stack: Stack, { url, headers }: Target) {
  await stack.edgeSettled();
  stack.clearSeen();
  const answer = await fetch(url, { headers, redirect: "manual" });
  await answer.body?.cancel();
  await stack.edgeSettled();
  const line = JSON.parse(stack.edgeLines().at(-1) ?? "{}") as object;
  const { "content-length": _, ...kept } = Object.fromEntries(answer.headers);
  return { line, headers: kept };
}
