import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type ClientInit, createClient } from "../support/client.ts";
import { askToken, pullOf } from "../support/grace.ts";
import { type Asked, History } from "../support/history.ts";
import { manifestText, manifestType, pushImage } from "../support/image.ts";
import { asPodB, startOddPod } from "../support/odd-pod.ts";
import { pullerOf, type Seen } from "../support/pull.ts";
import { useStack } from "../support/toy-stack.ts";

/** CI runs few trials. A full run has `TRIALS=1000`. */
const trialCount = Number(process.env["TRIALS"] ?? 60);
/** This many trials make one batch, which has one outage. */
const atOnce = 20;
const proofMs = 1_000;
const staleMs = 3_000;
const graceMs = 3_000;
/** An outage lasts as long as these three times together, so each time limit passes during the outage. */
const outageMs = proofMs + staleMs + graceMs;

const withBounds = (text: string): string =>
  text
    .replaceAll(/^ {4}outage: .*\n/gm, "")
    .replaceAll(
      "    blobs:\n",
      `    outage: { staleSeconds: ${staleMs / 1000}, graceSeconds: ${graceMs / 1000} }\n    blobs:\n      proofTtlSeconds: ${proofMs / 1000}\n`,
    );
const tokenService = await startOddPod();
const stack = useStack({ seedImages: false, topology: (text) => asPodB(tokenService, "TOKEN")(withBounds(text)) });

const kindOf = fc.record({
  change: fc.constantFrom(
    "tag moved",
    "tag deleted",
    "manifest deleted",
    "blob deleted",
    "user removed",
    "made private",
    "digest blocked",
    "nothing",
  ),
  /**
   * If false, the change is made at the Pod directly, where the edge does not see it. Some changes are never made through the edge, such as the
   * removal of a user.
   */
  isByEdge: fc.boolean(),
  /** Whether the repository is pulled once through the edge between the change and the outage. */
  isSeen: fc.boolean(),
  isDuringOutage: fc.boolean(),
  isAnonymous: fc.boolean(),
});
type Kind = typeof kindOf extends fc.Arbitrary<infer T> ? T : never;
const failures = ["registry", "token", "both"] as const;
type Failure = (typeof failures)[number];

/** One repository and its history, because an answer is compared with the state at the time of the answer. */
type Trial = Kind & {
  readonly repository: string;
  readonly user: "alice:alice" | null;
  readonly digest: string;
  readonly blob: string;
  readonly other: string;
  readonly tag: History<string | null>;
  readonly hasManifest: History<boolean>;
  readonly hasBlob: History<boolean>;
  readonly mayPull: History<boolean>;
  readonly isBlocked: History<boolean>;
};

const repositoriesOf = new Map<string, Trial>();
let isTokenServiceDown = false;
const blocks: Record<string, string> = {};
const counts = { fresh: 0, stale: 0, refused: 0 };

/**
 * Answers as the Pod's own token service does, with these exceptions: "demo" may do everything, and "bob" may pull nothing. For "alice" and for
 * clients without a login, {@link Trial.mayPull} decides.
 */
function answerTokens(): void {
  tokenService.answer(async (response, { path, headers }) => {
    if (isTokenServiceDown) return void response.destroy();
    const query = new URLSearchParams(path.split("?")[1]);
    const [name = ""] = Buffer.from((headers.authorization ?? "").replace(/^Basic /, ""), "base64")
      .toString()
      .split(":");
    const trial = repositoriesOf.get((query.get("scope") ?? "").split(":")[1] ?? "");
    const isOwner = name === "demo";
    if (!isOwner && (name === "bob" || trial?.mayPull.value === false)) {
      return void response.writeHead(trial?.change === "user removed" && name !== "" ? 401 : 403).end("{}");
    }
    const answer = await askPodForToken(query, isOwner ? "demo" : name === "" ? null : "reader");
    response.writeHead(answer.status, { "Content-Type": "application/json" }).end(await answer.text());
  });
}

function askPodForToken(query: URLSearchParams, user: string | null): Promise<Response> {
  const headers: HeadersInit = user === null ? {} : { Authorization: `Basic ${btoa(`${user}:${user}`)}` };
  return fetch(`${stack.current.pods["pod-b"].token.direct}/jwt/auth?${query}`, { headers });
}

async function setUp(kind: Kind, name: string): Promise<Trial> {
  const isAnonymous = kind.isAnonymous && kind.change !== "user removed";
  const repository = `globex/${isAnonymous ? "public/" : ""}${name}`;
  const { digest, blobs } = await pushImage(stack.current, repository, 1);
  const other = manifestText([...blobs].reverse());
  const trial: Trial = {
    ...kind,
    repository,
    user: isAnonymous ? null : "alice:alice",
    digest,
    blob: blobs[1] ?? "",
    other,
    tag: new History<string | null>(digest),
    hasManifest: new History(true),
    hasBlob: new History(true),
    mayPull: new History(true),
    isBlocked: new History(false),
  };
  repositoriesOf.set(repository, trial);
  return trial;
}

async function change(trial: Trial, isByEdge: boolean): Promise<void> {
  const { repository, digest, blob, other, tag } = trial;
  const query = new URLSearchParams([
    ["service", "pod-b-registry"],
    ["scope", `repository:${repository}:pull,push,delete`],
  ]);
  const { token: jwt } = (await (await askPodForToken(query, "demo")).json()) as { token: string };
  const origin = isByEdge ? stack.current.edge : stack.current.pods["pod-b"].registry.direct;
  const send = async (path: string, init: ClientInit) => {
    const token = isByEdge ? `pods.v1.pod-b/${jwt}` : jwt;
    const { status } = await createClient(origin).get(`/v2/${repository}/${path}`, token, init);
    expect([trial.change, status]).toEqual([trial.change, init.method === "PUT" ? 201 : 202]);
    // The edge answers first, and records the deletion afterwards.
    if (isByEdge) await stack.current.edgeSettled();
  };
  const known = (...histories: readonly { known(): void }[]) => {
    if (isByEdge) for (const history of histories) history.known();
  };
  switch (trial.change) {
    case "tag moved": {
      const put = { method: "PUT", body: other, headers: { "Content-Type": manifestType } };
      await tag.change("other", () => send("manifests/1", put));
      known(tag);
      break;
    }
    case "tag deleted":
      await tag.change(null, () => send("manifests/1", { method: "DELETE" }));
      known(tag);
      break;
    case "manifest deleted":
      await trial.hasManifest.change(false, () =>
        tag.change(null, () => send(`manifests/${digest}`, { method: "DELETE" })),
      );
      known(tag, trial.hasManifest);
      break;
    case "blob deleted":
      await trial.hasBlob.change(false, () => send(`blobs/${blob}`, { method: "DELETE" }));
      known(trial.hasBlob);
      break;
    case "user removed":
    case "made private":
      await trial.mayPull.change(false, async () => {});
      break;
    case "digest blocked":
      blocks[digest] = "Withdrawn.";
      break;
    case "nothing":
      break;
  }
}

/** A running isolate may use the old record of blocks for up to 30 s. The edge is restarted, because a new isolate reads the new record at once. */
async function applyBlocks(trials: readonly Trial[]): Promise<void> {
  const blocked = trials.filter((trial) => trial.change === "digest blocked");
  if (blocked.length === 0) return;
  await stack.current.edgeSettled();
  await stack.current.putKv("blocks", JSON.stringify({ v: 1, revision: Date.now(), blocks }));
  await stack.current.restartEdge("kept");
  for (const { isBlocked } of blocked) {
    await isBlocked.change(true, async () => {});
    isBlocked.known();
  }
}

async function applyAll(trials: readonly Trial[], isByEdge: (trial: Trial) => boolean): Promise<void> {
  await Promise.all(trials.map((trial) => change(trial, isByEdge(trial))));
  await applyBlocks(trials);
}

/** Returns whether a fresh token was granted. The edge may repeat old answers, so an answer is right if it was true within the last `ageMs`. */
async function pull(trial: Trial): Promise<boolean> {
  const { repository, user, digest, blob } = trial;
  const isDown = isTokenServiceDown;
  const granted = await timed(() => askToken(stack.current, [pullOf(repository)], user));
  const isGranted = granted.answer.status === 200;
  const mayPull = (asked: Asked) => trial.mayPull.within({ ...asked, ageMs: isDown ? graceMs : 0 }).includes(true);
  if (!isGranted) {
    counts.refused += 1;
    // The token service itself has refused this pull, so from now on the edge must not grant the pull by itself.
    if (!isDown && !trial.mayPull.value) trial.mayPull.known();
    return false;
  }
  expect([describeOf(trial), "token", mayPull(granted)]).toEqual([describeOf(trial), "token", true]);
  const ask = pullerOf(stack.current, repository, granted.answer.token);
  const check = async (path: string, isRight: (asked: Asked & { ageMs: number }, seen: Seen) => boolean) => {
    const { answer, ...asked } = await timed(() => ask(path));
    if (answer.status !== 200 && answer.status !== 307) {
      counts.refused += 1;
      return;
    }
    const isStale = "warning" in answer.headers;
    counts[isStale ? "stale" : "fresh"] += 1;
    const isTrue = isRight({ ...asked, ageMs: isStale ? staleMs : 0 }, answer) && mayPull(asked);
    expect([describeOf(trial), path, answer, isTrue]).toEqual([describeOf(trial), path, answer, true]);
    const mayBeBlocked = path !== "manifests/1" || isStale;
    if (mayBeBlocked && answer.headers["docker-content-digest"] === digest) {
      expect(trial.isBlocked.within({ ...asked, ageMs: 0 })).toContain(false);
    }
  };
  const held = (asked: Asked & { ageMs: number }) => ({ ...asked, ageMs: asked.ageMs + proofMs });
  await check("manifests/1", (asked, { headers }) => {
    const seen = headers["docker-content-digest"] === digest ? digest : "other";
    return trial.tag.within(asked).includes(seen);
  });
  await check(`manifests/${digest}`, (asked) => trial.hasManifest.within(held(asked)).includes(true));
  await check(`blobs/${blob}`, (asked) => trial.hasBlob.within(held(asked)).includes(true));
  return true;
}

const describeOf = ({ change: what, isByEdge, isSeen, isDuringOutage, user }: Trial) =>
  JSON.stringify({ what, isByEdge, isSeen, isDuringOutage, user });

async function pullAsStranger({ repository, digest, blob }: Trial, elsewhere: string): Promise<void> {
  expect((await askToken(stack.current, [pullOf(repository)], "bob:bob")).status).not.toBe(200);
  const ask = pullerOf(stack.current, repository, elsewhere);
  for (const path of ["manifests/1", `manifests/${digest}`, `blobs/${blob}`])
    expect((await ask(path)).status).toBe(401);
}

async function timed<T>(work: () => Promise<T>): Promise<Asked & { readonly answer: T }> {
  const askedMs = Date.now();
  const answer = await work();
  return { answer, askedMs, gotMs: Date.now() };
}

async function fail(failure: Failure | null): Promise<void> {
  await stack.current.edgeSettled();
  isTokenServiceDown = failure === "token" || failure === "both";
  const isRegistryDown = failure === "registry" || failure === "both";
  await stack.current.setFault("pod-b", "registry", { mode: isRegistryDown ? "refuse" : "none" });
}

async function runBatch(
  kinds: readonly Kind[],
  { batch, failure }: { batch: number; failure: Failure },
): Promise<void> {
  const trials = await Promise.all(kinds.map((kind, index) => setUp(kind, `trial-${batch}-${index}`)));
  // After these pulls, all that the edge remembers is fresh when the change comes.
  await Promise.all(trials.map(pull));
  await Promise.all(trials.map(pull));
  const elsewhere = (await askToken(stack.current, [pullOf("globex/elsewhere")])).token;
  await applyAll(
    trials.filter(({ isDuringOutage }) => !isDuringOutage),
    ({ isByEdge }) => isByEdge,
  );
  // By this pull, the edge learns of a change. So a trial that has changed is pulled only if it has `isSeen`. Trials that change later, during the
  // outage, are all pulled.
  const seen = trials.filter(({ isSeen, isDuringOutage }) => isSeen || isDuringOutage);
  await Promise.all(
    seen.map(async (trial) => {
      const isAsked = await pull(trial);
      if (isAsked) trial.tag.known();
    }),
  );
  await fail(failure);
  await applyAll(
    trials.filter(({ isDuringOutage }) => isDuringOutage),
    () => false,
  );
  const endsAtMs = Date.now() + outageMs;
  while (Date.now() < endsAtMs) {
    await Promise.all(trials.map(pull));
    await Promise.all(trials.slice(0, 4).map((trial) => pullAsStranger(trial, elsewhere)));
    await sleep(100);
  }
  await fail(null);
  await expect.poll(pushBegins, { timeout: 20_000, interval: 200 }).toBe(202);
  await Promise.all(trials.map(pull));
}

/** Begins a push and returns the status. A 202 shows that the edge calls the Pod's token service and registry again, because a push needs both. */
async function pushBegins(): Promise<number> {
  const { status, token } = await askToken(stack.current, ["repository:globex/elsewhere:pull,push"]);
  if (status !== 200) return status;
  const answer = await createClient(stack.current.edge).get("/v2/globex/elsewhere/blobs/uploads/", token, {
    method: "POST",
  });
  await answer.body?.cancel();
  return answer.status;
}

test("whatever is revoked, with the Pod up and down: no answer is older than its bound, and strangers get nothing", {
  timeout: 60_000 + trialCount * 2_000,
}, async () => {
  answerTokens();
  const kinds = fc.sample(kindOf, trialCount);
  for (let batch = 0; batch * atOnce < kinds.length; batch += 1) {
    const failure = failures[batch % failures.length] ?? "both";
    const some = kinds.slice(batch * atOnce, (batch + 1) * atOnce);
    // A block takes effect by a restart, which clears the edge's memory of earlier batches. So only every fourth batch has blocks.
    const isWithBlocks = batch % 4 === 2;
    const isKept = ({ change: what }: Kind) => isWithBlocks || what !== "digest blocked";
    await runBatch(some.filter(isKept), { batch, failure });
  }
  console.log(
    `${trialCount} trials: ${counts.fresh} fresh answers, ${counts.stale} stale ones, ${counts.refused} refusals`,
  );
  // The trials are a good test only if many answers were stale, and many pulls were refused.
  expect(counts.stale).toBeGreaterThan(trialCount);
  expect(counts.refused).toBeGreaterThan(trialCount);
});
