import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { Stack } from "../../src/local/stack.ts";
import type { Fault } from "../../src/local/taps/faults.ts";
import { createClient, pushBlob, sha256 } from "../support/client.ts";
import { manifestText, manifestType, pushImage, putManifest } from "../support/image.ts";
import { answerBlob, asPodB, startOddPod } from "../support/odd-pod.ts";
import { keepManifest, pullerOf, type Seen } from "../support/pull.ts";
import { endFault, readStackKv, useStack, withOutage } from "../support/toy-stack.ts";

const odd = await startOddPod();
const warning = '110 - "response is stale"';
const absent = `sha256:${"0".repeat(64)}`;

/** With `proofTtlSeconds: 1`, proofs have expired when an outage begins. */
const withTimes = (proofTtlSeconds: number, staleSeconds: number) => (text: string) =>
  withOutage(`staleSeconds: ${staleSeconds}`)(text).replaceAll(
    "    blobs:\n",
    `    blobs:\n      proofTtlSeconds: ${proofTtlSeconds}\n`,
  );

const setFault = (stack: Stack, fault: Fault) =>
  fault.mode === "none" ? endFault(stack, "pod-a") : stack.setFault("pod-a", "registry", fault);

/** Afterwards, the edge's cache has the image's tag, its manifest and its blobs' proofs. */
async function setUp(stack: Stack, repository: string) {
  const image = await pushImage(stack, repository, 2);
  const token = await createClient(stack.edge).token([`repository:${repository}:pull,delete`]);
  const ask = pullerOf(stack, repository, token);
  await keepManifest(stack, repository, image.digest);
  for (const blob of image.blobs) expect((await ask(`blobs/${blob}`)).status).toBe(307);
  await stack.edgeSettled();
  return { ...image, token, ask };
}

const isStale = ({ headers }: Seen): boolean => headers["warning"] === warning;
const statusOf = async (asked: Promise<Seen>): Promise<number> => (await asked).status;

async function pull({ ask, digest, blobs }: Awaited<ReturnType<typeof setUp>>): Promise<readonly Seen[]> {
  const answers = [await ask("manifests/1", { method: "HEAD" }), await ask("manifests/1")];
  answers.push(await ask(`manifests/${digest}`, { method: "HEAD" }), await ask(`manifests/${digest}`));
  for (const blob of blobs) answers.push(await ask(`blobs/${blob}`, { method: "HEAD" }), await ask(`blobs/${blob}`));
  return answers;
}
const pulledStatuses = [200, 200, 200, 200, ...Array(6).fill(307)];

describe("pull while the registry is down, with proofs that have expired", () => {
  const stack = useStack({ seedImages: false, topology: withTimes(1, 600) });

  test.each<[string, Fault]>([
    ["refuses connections", { mode: "refuse" }],
    // If Cloudflare cannot reach the registry, it answers 521 or 522 itself.
    ...[502, 503, 504, 521, 522].map((status): [string, Fault] => [`answers ${status}`, { mode: "status", status }]),
  ])(
    "if the registry %s, the image is pulled whole, each answer says that it is stale, and it is fresh after the outage",
    async (_, fault) => {
      const repository = `acme/down-${fault.mode}-${"status" in fault ? fault.status : ""}`.replace(/-$/, "");
      const image = await setUp(stack.current, repository);
      const fresh = await pull(image);
      expect(fresh.map(({ status }) => status)).toEqual(pulledStatuses);
      expect(fresh.filter(isStale)).toEqual([]);
      await sleep(1_100);
      stack.current.clearSeen();
      await setFault(stack.current, fault);
      const stale = await pull(image);
      await stack.current.edgeSettled();
      const outcomes = new Set(stack.current.edgeSeen().map(({ outcome }) => outcome));
      await setFault(stack.current, { mode: "none" });
      expect(stale.map(({ status }) => status)).toEqual(pulledStatuses);
      expect(stale.every(isStale)).toBe(true);
      // Apart from these two headers, a manifest's answer is the Pod's own.
      const own = { warning, "cache-control": "no-store, no-transform" };
      const expected = fresh.slice(0, 4).map((seen) => ({ ...seen, headers: { ...seen.headers, ...own } }));
      expect(stale.slice(0, 4)).toEqual(expected);
      for (const [index, { headers }] of stale.slice(4).entries()) {
        const stored = await fetch(headers["location"] ?? "", { method: index % 2 === 0 ? "HEAD" : "GET" });
        expect(stored.status).toBe(200);
        const bytes = new Uint8Array(await stored.arrayBuffer());
        if (index % 2 === 1) expect(await sha256(bytes)).toBe(image.blobs[(index - 1) / 2]);
      }
      expect(outcomes).toEqual(new Set(["stale"]));
      const after = await pull(image);
      expect(after.map(({ status }) => status)).toEqual(pulledStatuses);
      expect(after.filter(isStale)).toEqual([]);
    },
  );

  test("if the registry never answers, the image is pulled whole", { timeout: 120_000 }, async () => {
    const { ask, digest, blobs } = await setUp(stack.current, "acme/hangs");
    await sleep(1_100);
    await setFault(stack.current, { mode: "hang" });
    const asked = ["manifests/1", `manifests/${digest}`, ...blobs.map((blob) => `blobs/${blob}`)];
    const answers = await Promise.all(asked.map((path) => ask(path)));
    await setFault(stack.current, { mode: "none" });
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 307, 307, 307]);
    expect(answers.every(isStale)).toBe(true);
  });

  test("if the registry breaks off each answer, a manifest is completed from here, and nothing is stale, because the Pod named the digest", async () => {
    const image = await setUp(stack.current, "acme/resets");
    await sleep(1_100);
    stack.current.clearSeen();
    await setFault(stack.current, { mode: "reset" });
    const answers = await pull(image);
    await setFault(stack.current, { mode: "none" });
    expect(answers.map(({ status }) => status)).toEqual(pulledStatuses);
    expect([answers[1]?.text, answers[3]?.text]).toEqual([image.text, image.text]);
    expect(answers.filter(isStale)).toEqual([]);
    await stack.current.edgeSettled();
    expect(stack.current.edgeSeen()).toContainEqual(
      expect.objectContaining({ method: "GET", outcome: "forwarded", completed: true }),
    );
  });

  test("a registry that is only slow is not down, so its own answer comes late", async () => {
    const { ask } = await setUp(stack.current, "acme/slow");
    await setFault(stack.current, { mode: "delay", ms: 1_500 });
    const startedAtMs = performance.now();
    const answer = await ask("manifests/1");
    await setFault(stack.current, { mode: "none" });
    expect([answer.status, isStale(answer)]).toEqual([200, false]);
    expect(performance.now() - startedAtMs).toBeGreaterThan(1_400);
  });

  test.each([400, 401, 403, 404, 429, 500, 501])(
    "a registry that answers %d is not down, so its answer passes",
    async (status) => {
      const { ask, digest, blobs } = await setUp(stack.current, `acme/answers-${status}`);
      await sleep(1_100);
      await setFault(stack.current, { mode: "status", status });
      const paths = ["manifests/1", `manifests/${digest}`, `blobs/${blobs[1]}`];
      const answers: Seen[] = [];
      for (const path of paths) answers.push(await ask(path), await ask(path, { method: "HEAD" }));
      await setFault(stack.current, { mode: "none" });
      expect(answers.map((answer) => [answer.status, isStale(answer)])).toEqual(Array(6).fill([status, false]));
    },
  );

  test("another isolate of the location pulls as well", async () => {
    const image = await setUp(stack.current, "acme/elsewhere");
    await stack.current.restartEdge("kept");
    await sleep(1_100);
    await setFault(stack.current, { mode: "refuse" });
    const answers = await pull(image);
    await setFault(stack.current, { mode: "none" });
    expect(answers.map(({ status }) => status)).toEqual(pulledStatuses);
  });

  test("what is not held gets 503 with Retry-After", async () => {
    const { ask, digest } = await setUp(stack.current, "acme/partly");
    const pushing = await createClient(stack.current.edge).token(["repository:acme/partly:pull,push"]);
    const push = pullerOf(stack.current, "acme/partly", pushing);
    await setFault(stack.current, { mode: "refuse" });
    const answers = await Promise.all([
      ask("manifests/2"),
      ask(`manifests/${absent}`),
      ask(`blobs/${absent}`),
      ask("tags/list"),
      ask(`referrers/${digest}`),
      ask("manifests/1?ns=docker.io"),
      ask("manifests/1", { headers: { Accept: "*/*" } }),
      push("blobs/uploads/", { method: "POST" }),
      push("manifests/2", { method: "PUT", body: "{}", headers: { "Content-Type": manifestType } }),
    ]);
    await setFault(stack.current, { mode: "none" });
    expect(answers.map(({ status, headers }) => [status, headers["retry-after"], headers["warning"]])).toEqual(
      answers.map(() => [503, "5", undefined]),
    );
  });

  test("a private repository needs its grant, and another repository gets nothing of it", async () => {
    const { digest, blobs } = await setUp(stack.current, "acme/private-one");
    await pushImage(stack.current, "acme/private-two", 1);
    const client = createClient(stack.current.edge);
    const other = await client.token(["repository:acme/private-two:pull"]);
    await setFault(stack.current, { mode: "refuse" });
    const paths = ["manifests/1", `manifests/${digest}`, `blobs/${blobs[1]}`];
    for (const path of paths) {
      for (const token of [null, other]) {
        expect(await statusOf(pullerOf(stack.current, "acme/private-one", token)(path))).toBe(401);
      }
    }
    for (const path of paths.slice(1)) {
      expect(await statusOf(pullerOf(stack.current, "acme/private-two", other)(path))).toBe(503);
    }
    await setFault(stack.current, { mode: "none" });
  });

  describe("after a change that the edge has seen", () => {
    const duringOutage = async <T>(work: () => Promise<T>): Promise<T> => {
      await stack.current.edgeSettled();
      await setFault(stack.current, { mode: "refuse" });
      const done = await work();
      await setFault(stack.current, { mode: "none" });
      return done;
    };

    test("a tag that was deleted is gone, and its manifest stays", async () => {
      const { ask, digest } = await setUp(stack.current, "acme/tag-gone");
      expect(await statusOf(ask("manifests/1", { method: "DELETE" }))).toBe(202);
      const statuses = await duringOutage(async () => [
        await statusOf(ask("manifests/1")),
        await statusOf(ask(`manifests/${digest}`)),
      ]);
      expect(statuses).toEqual([503, 200]);
    });

    test("a manifest that was deleted is gone under its digest and its tag, in each isolate", async () => {
      const { ask, digest } = await setUp(stack.current, "acme/manifest-gone");
      expect(await statusOf(ask(`manifests/${digest}`, { method: "DELETE" }))).toBe(202);
      const statuses = () =>
        duringOutage(async () => [await statusOf(ask("manifests/1")), await statusOf(ask(`manifests/${digest}`))]);
      expect(await statuses()).toEqual([503, 503]);
      await stack.current.restartEdge("kept");
      expect(await statuses()).toEqual([503, 503]);
    });

    test("a tag that was pushed anew is the new one, although it was not pulled yet", async () => {
      const { ask, blobs } = await setUp(stack.current, "acme/pushed-anew");
      const text = manifestText([...blobs].reverse());
      expect((await putManifest(stack.current, "acme/pushed-anew", "1", text)).status).toBe(201);
      const pulled = await duringOutage(() => ask("manifests/1"));
      expect([pulled.status, pulled.text, isStale(pulled)]).toEqual([200, text, true]);
    });

    test("the tags of a push by digest are not their old selves, and no other tag is forgotten", async () => {
      const repository = "acme/pushed-by-digest";
      const { ask, blobs, text } = await setUp(stack.current, repository);
      for (const tag of ["2", "3"]) await putManifest(stack.current, repository, tag, text);
      const next = manifestText([...blobs].reverse());
      const pushed = async (query: string) =>
        (
          await putManifest(
            stack.current,
            repository,
            `${await sha256(new Uint8Array(Buffer.from(next)))}?${query}`,
            next,
          )
        ).status;
      await setFault(stack.current, { mode: "status", status: 403 });
      expect(await pushed("tag=3")).toBe(403);
      await setFault(stack.current, { mode: "none" });
      expect(await pushed(`tag=${"x".repeat(129)}&tag=%31&tag=2&ref=3`)).toBe(201);
      const statuses = () =>
        duringOutage(async () => Promise.all(["1", "2", "3"].map((tag) => statusOf(ask(`manifests/${tag}`)))));
      expect(await statuses()).toEqual([503, 503, 200]);
      await stack.current.restartEdge("kept");
      expect(await statuses()).toEqual([503, 503, 200]);
    });

    test("a tag that the Pod was seen to lack is gone", async () => {
      const { ask, token } = await setUp(stack.current, "acme/tag-lost");
      const atPod = createClient(stack.current.pods["pod-a"].registry.direct);
      const jwt = token.split("/").slice(1).join("/");
      expect((await atPod.get("/v2/acme/tag-lost/manifests/1", jwt, { method: "DELETE" })).status).toBe(202);
      expect(await statusOf(ask("manifests/1"))).toBe(404);
      expect(await duringOutage(() => statusOf(ask("manifests/1")))).toBe(503);
    });

    test("a client that does not accept the manifest does not make the edge forget it", async () => {
      const { ask } = await setUp(stack.current, "acme/not-accepted");
      expect(await statusOf(ask("manifests/1", { headers: { Accept: "*/*" } }))).toBe(404);
      expect(await duringOutage(() => statusOf(ask("manifests/1")))).toBe(200);
    });

    test("a blob that was deleted is gone", async () => {
      const { ask, blobs } = await setUp(stack.current, "acme/blob-gone");
      expect(await statusOf(ask(`blobs/${blobs[1]}`, { method: "DELETE" }))).toBe(202);
      const statuses = () => duringOutage(async () => Promise.all(blobs.map((blob) => statusOf(ask(`blobs/${blob}`)))));
      expect(await statuses()).toEqual([307, 503, 307]);
      await stack.current.restartEdge("kept");
      expect(await statuses()).toEqual([307, 503, 307]);
    });

    test.each(["GET", "HEAD"])(
      "a blob that the Pod was seen to lack by %s is gone, although its proof had expired",
      async (method) => {
        const repository = `acme/blob-lost-${method.toLowerCase()}`;
        const { ask, blobs, token } = await setUp(stack.current, repository);
        const path = `blobs/${blobs[1]}`;
        await sleep(1_100);
        const atPod = createClient(stack.current.pods["pod-a"].registry.direct);
        const jwt = token.split("/").slice(1).join("/");
        expect((await atPod.get(`/v2/${repository}/${path}`, jwt, { method: "DELETE" })).status).toBe(202);
        expect(await statusOf(ask(path, { method }))).toBe(404);
        const statuses = () =>
          duringOutage(async () => [await statusOf(ask(path)), await statusOf(ask(path, { method: "HEAD" }))]);
        expect(await statuses()).toEqual([503, 503]);
        await stack.current.restartEdge("kept");
        expect(await statuses()).toEqual([503, 503]);
      },
    );

    test("a digest that was blocked is refused, also under its tag", async () => {
      const { ask, digest } = await setUp(stack.current, "acme/blocked");
      await stack.current.putKv("blocks", JSON.stringify({ v: 1, revision: 2, blocks: { [digest]: "Withdrawn." } }));
      await stack.current.restartEdge("kept");
      const answers = await duringOutage(() => Promise.all([ask("manifests/1"), ask(`manifests/${digest}`)]));
      expect(answers.map(({ status }) => status)).toEqual([403, 403]);
      expect(answers[0]?.text).toContain("Withdrawn.");
    });

    test("a blob that was only asked for by HEAD is held too", async () => {
      const digest = await pushBlob(stack.current, "acme/headed", "asked for by HEAD");
      const token = await createClient(stack.current.edge).token(["repository:acme/headed:pull"]);
      const ask = pullerOf(stack.current, "acme/headed", token);
      expect(await statusOf(ask(`blobs/${digest}`, { method: "HEAD" }))).toBe(307);
      await sleep(1_100);
      const answer = await duringOutage(() => ask(`blobs/${digest}`));
      expect([answer.status, isStale(answer)]).toEqual([307, true]);
    });
  });
});

describe("Pod that is not down, but fails at what one client sends", () => {
  const stack = useStack({ seedImages: false, topology: (text) => asPodB(odd)(withTimes(1, 600)(text)) });

  test.each<[string, string, Readonly<Record<string, string>>]>([
    ["a query", "?ns=nowhere.example", {}],
    ["headers of a loop", "", { "Max-Forwards": "0", Via: "1.1 google", "CDN-Loop": "a", "Fastly-FF": "a" }],
  ])("by %s no client gets a blob that the Pod no longer has", async (_, query, headers) => {
    const path = `blobs/sha256:${query === "" ? "a".repeat(64) : "b".repeat(64)}`;
    const token = await createClient(stack.current.edge).token(["repository:globex/app:pull"]);
    const ask = pullerOf(stack.current, "globex/app", token);
    odd.answer((response, { path: asked }) => answerBlob(response, asked));
    expect(await statusOf(ask(path))).toBe(307);
    await sleep(1_100);
    odd.answer((response, { path: asked, headers: sent }) => {
      const looksLikeLoop = ["max-forwards", "via", "cdn-loop", "fastly-ff"].some((name) => name in sent);
      response.writeHead(looksLikeLoop || asked.includes("?") ? 502 : 404).end();
    });
    const answer = await ask(path + query, { headers });
    expect([answer.status, isStale(answer)]).toEqual([query === "" ? 404 : 502, false]);
  });

  test("three such failures in a row do not make it count as down, so that a tag that it no longer has is gone", async () => {
    const text = manifestText([]);
    const digest = await sha256(new Uint8Array(Buffer.from(text)));
    const token = await createClient(stack.current.edge).token(["repository:globex/tagged:pull"]);
    const ask = pullerOf(stack.current, "globex/tagged", token);
    const headers = { "Content-Type": manifestType, "Docker-Content-Digest": digest };
    odd.answer((response) => void response.writeHead(200, headers).end(text));
    await keepManifest(stack.current, "globex/tagged", digest);
    odd.answer((response, { path }) => void response.writeHead(path.includes("?") ? 502 : 404).end());
    for (let time = 0; time < 4; time += 1) expect(await statusOf(ask("manifests/1?ns=nowhere.example"))).toBe(502);
    const answer = await ask("manifests/1");
    expect([answer.status, isStale(answer)]).toEqual([404, false]);
  });
});

describe("Pod that its record calls down", () => {
  const stack = useStack({ seedImages: false });

  test("nothing is served for it, because an operator has switched it off", async () => {
    const { ask, digest, blobs } = await setUp(stack.current, "acme/off");
    const record = (await readStackKv(stack.current, ["pod/pod-a"])).get("pod/pod-a") ?? "";
    await stack.current.putKv("pod/pod-a", record.replace('"state":"active"', '"state":"down"'));
    await stack.current.restartEdge("kept");
    stack.current.clearSeen();
    for (const path of ["manifests/1", `manifests/${digest}`, `blobs/${blobs[1]}`]) {
      expect(await statusOf(ask(path))).toBe(503);
    }
    expect(stack.current.seen("pod-a", "registry")).toEqual([]);
  });
});

describe("end of stale pulls", () => {
  const off = useStack({ seedImages: false, topology: withTimes(1, 0) });
  const brief = useStack({ seedImages: false, topology: withTimes(1, 3) });
  const paths = ({ digest, blobs }: { readonly digest: string; readonly blobs: readonly string[] }) => [
    "manifests/1",
    `manifests/${digest}`,
    `blobs/${blobs[1]}`,
  ];

  test("with staleSeconds 0, only what a living proof allows is served during the outage", async () => {
    const image = await setUp(off.current, "acme/off");
    await sleep(1_100);
    await setFault(off.current, { mode: "refuse" });
    for (const path of paths(image)) expect([path, await statusOf(image.ask(path))]).toEqual([path, 503]);
    await setFault(off.current, { mode: "none" });
  });

  test("a tag is served for staleSeconds after it was seen, and what a proof allows for staleSeconds after the proof's end", async () => {
    const image = await setUp(brief.current, "acme/brief");
    const seenAtMs = performance.now();
    expect(await statusOf(image.ask("manifests/1"))).toBe(200);
    await setFault(brief.current, { mode: "refuse" });
    const statuses = async () => {
      const all: number[] = [];
      for (const path of paths(image)) all.push(await statusOf(image.ask(path)));
      return all;
    };
    expect(await statuses()).toEqual([200, 200, 307]);
    await sleep(Math.max(0, seenAtMs + 4_200 - performance.now()));
    expect(await statuses()).toEqual([503, 503, 503]);
    await setFault(brief.current, { mode: "none" });
  });
});
