import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { generateSealingKeys } from "../../src/directory/seal.ts";
import type { Fault } from "../../src/local/taps/faults.ts";
import type { Tap } from "../../src/local/taps/tap.ts";
import { createClient, layersOf } from "../support/client.ts";
import { startOddPod } from "../support/odd-pod.ts";
import { addSecondStore } from "../support/second-store.ts";
import { readStackKv, useStack, withStores } from "../support/toy-stack.ts";

/** The cron waits this long for a store's answer. In production it waits 5 s. */
const storeCheckMs = 400;
const sealingKeys = await generateSealingKeys();
const env = { STORE_CHECK_MS: String(storeCheckMs) };

type Verdict = { readonly pod: string; readonly place: string; readonly state: string; readonly why?: string };

describe("Pod with two stores", () => {
  const stack = useStack({ sealingKeys, env });
  let second: Tap;
  beforeAll(async () => {
    second = await addSecondStore(stack.current, "pod-a", sealingKeys);
    await stack.current.runCron();
  });
  afterAll(() => second.stop());
  afterEach(async () => {
    await stack.current.setFault("pod-a", "storage", { mode: "none" });
    await second.setFault({ mode: "none" });
    await stack.current.runCron();
  });

  const healthText = async () => (await readStackKv(stack.current, ["health"])).get("health") ?? null;
  const verdicts = async () => (JSON.parse((await healthText()) ?? "") as { stores: readonly Verdict[] }).stores;
  const statesByStore = async () => {
    const hosts = [stack.current.pods["pod-a"].storage.url, second.url].map((url) => new URL(url).host);
    const known = await verdicts();
    return hosts.map((host) => known.find(({ place }) => place === `pod-a.${host}`)?.state);
  };
  const clear = () => {
    stack.current.clearSeen();
    second.clearSeen();
  };
  const storageRequests = () => [...stack.current.seen("pod-a", "storage"), ...second.seen()];

  /** A new isolate serves the pulls, so it knows the results of the checks only from KV. */
  async function pull(times: number) {
    await stack.current.restartEdge("kept");
    const [layer] = await layersOf(stack.current, "acme/private");
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:acme/private:pull"]);
    clear();
    const pulled: { status: number; origin: string }[] = [];
    for (let time = 0; time < times; time += 1) {
      const redirect = await client.get(`/v2/acme/private/blobs/${layer?.digest ?? ""}`, token);
      const target = new URL(redirect.headers.get("Location") ?? "");
      const status = await fetch(target, { signal: AbortSignal.timeout(2_000) }).then(
        async (answer) => ((await answer.arrayBuffer()).byteLength === layer?.size ? answer.status : 0),
        () => 0,
      );
      pulled.push({ status, origin: target.origin });
    }
    await stack.current.edgeSettled();
    return pulled;
  }

  test("each store is asked for one byte of the probe blob, once if it answers, and gets no Authorization", async () => {
    clear();
    const before = await healthText();
    await stack.current.runCron();
    expect(await statesByStore()).toEqual(["in", "in"]);
    expect(await healthText()).toBe(before);
    for (const seen of [stack.current.seen("pod-a", "storage"), second.seen()]) {
      expect(seen).toMatchObject([{ method: "GET", status: 206, responseBytes: 1, authorization: "none" }]);
    }
  });

  test.each<Fault>([
    { mode: "refuse" },
    { mode: "hang" },
    { mode: "reset" },
    { mode: "delay", ms: storeCheckMs + 200 },
    { mode: "status", status: 503 },
  ])(
    "pulls go on at the second store after the cron's minute if the first one dies, and come back: %j",
    async (fault) => {
      clear();
      await stack.current.setFault("pod-a", "storage", fault);
      await stack.current.runCron();
      expect(await statesByStore()).toEqual(["out", "in"]);
      await stack.current.edgeSettled();
      const told = stack.current.edgeLines().map((line) => JSON.parse(line) as object);
      expect(told).toMatchObject([
        { log: "health", pod: "pod-a", state: "out", why: expect.stringMatching(/^\w[\w ]+$/) },
      ]);
      const during = await pull(20);
      expect(during).toEqual(Array(20).fill({ status: 200, origin: second.url }));
      expect(storageRequests().length).toBeLessThanOrEqual(20 * 1.1);
      const passedOver = expect.stringMatching(/^blobs\.stores\.0 is out since \d{4}-[^ ]+: \w/);
      expect(stack.current.edgeSeen()).toMatchObject(Array(20).fill({ outcome: "redirected", passedOver }));

      await stack.current.setFault("pod-a", "storage", { mode: "none" });
      await stack.current.runCron();
      expect(await statesByStore()).toEqual(["in", "in"]);
      const after = await pull(20);
      expect(after).toEqual(Array(20).fill({ status: 200, origin: stack.current.pods["pod-a"].storage.url }));
      expect(storageRequests().length).toBeLessThanOrEqual(20 * 1.1);
      expect(stack.current.edgeSeen().filter((record) => "passedOver" in record)).toEqual([]);
    },
  );

  test("a HEAD is signed for the second store as well while the first one is out", async () => {
    await stack.current.setFault("pod-a", "storage", { mode: "status", status: 500 });
    await stack.current.runCron();
    await stack.current.restartEdge("kept");
    const [layer] = await layersOf(stack.current, "acme/private");
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:acme/private:pull"]);
    // The Pod redirects the HEAD to the first store, which is out. The edge takes this answer only as a proof, and signs a URL of the second store.
    const head = await client.get(`/v2/acme/private/blobs/${layer?.digest ?? ""}`, token, { method: "HEAD" });
    const target = new URL(head.headers.get("Location") ?? "");
    expect([head.status, target.origin]).toEqual([307, second.url]);
    expect((await fetch(target, { method: "HEAD" })).status).toBe(200);
  });

  test("if both stores look dead none is taken out, and the one that comes back first takes over", async () => {
    const before = await healthText();
    await stack.current.setFault("pod-a", "storage", { mode: "refuse" });
    await second.setFault({ mode: "hang" });
    await stack.current.runCron();
    expect(await healthText()).toBe(before);
    expect((await pull(1)).map(({ origin }) => origin)).toEqual([stack.current.pods["pod-a"].storage.url]);
    await second.setFault({ mode: "none" });
    await stack.current.runCron();
    expect(await statesByStore()).toEqual(["out", "in"]);
    expect(await pull(3)).toEqual(Array(3).fill({ status: 200, origin: second.url }));
  });

  test("a store that never answered a check is not taken out, because it may be one for its own clients only", async () => {
    await stack.current.deleteKv("health");
    await stack.current.setFault("pod-a", "storage", { mode: "status", status: 403 });
    await stack.current.runCron();
    await stack.current.runCron();
    expect(await statesByStore()).toEqual([undefined, "in"]);
  });

  test("an isolate that serves meanwhile sends clients to the second store within 45 s of the cron's minute", async () => {
    await stack.current.restartEdge();
    const [layer] = await layersOf(stack.current, "acme/private");
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:acme/private:pull"]);
    const origin = async () => {
      const answer = await client.get(`/v2/acme/private/blobs/${layer?.digest ?? ""}`, token);
      return new URL(answer.headers.get("Location") ?? "").origin;
    };
    expect(await origin()).toBe(stack.current.pods["pod-a"].storage.url);
    await stack.current.setFault("pod-a", "storage", { mode: "hang" });
    await stack.current.runCron();
    await expect.poll(origin, { timeout: 45_000, interval: 500 }).toBe(second.url);
  }, 60_000);
});

describe("Pod with a store that fails one request in ten", async () => {
  const store = await startOddPod();
  const topology = (text: string) =>
    withStores("[]", `[{ scheme: public, baseUrl: '${store.url}' }, { scheme: pod }]`)(text);
  const stack = useStack({ env, topology });
  const health = async () => (await readStackKv(stack.current, ["health"])).get("health") ?? null;

  async function origin() {
    const [layer] = await layersOf(stack.current, "globex/private");
    const client = createClient(stack.current.edge);
    const token = await client.token(["repository:globex/private:pull"]);
    const answer = await client.get(`/v2/globex/private/blobs/${layer?.digest ?? ""}`, token);
    return new URL(answer.headers.get("Location") ?? "").origin;
  }

  test("it stays in for ten minutes, KV is written once, and the Pod's own redirect replaces it when it fails always", async () => {
    const answer = (fails: boolean) => store.answer((response) => void response.writeHead(fails ? 503 : 206).end("x"));
    answer(false);
    await stack.current.runCron();
    const written = await health();
    expect(JSON.parse(written ?? "{}")).toMatchObject({ stores: [{ pod: "pod-b", state: "in" }] });
    const dice = fc.sample(fc.noBias(fc.integer({ min: 0, max: 9 })), { numRuns: 100, seed: 16 });
    let failed = 0;
    store.answer((response) => {
      const fails = dice.pop() === 0;
      if (fails) failed += 1;
      response.writeHead(fails ? 503 : 206).end("x");
    });
    for (let minute = 1; minute <= 10; minute += 1) await stack.current.runCron();
    expect(await health()).toBe(written);
    expect(failed).toBeGreaterThan(0);
    expect(await origin()).toBe(store.url);
    answer(true);
    await stack.current.runCron();
    expect(JSON.parse((await health()) ?? "{}")).toMatchObject({ stores: [{ state: "out", why: "answered 503" }] });
    await stack.current.restartEdge("kept");
    expect(await origin()).toBe(stack.current.pods["pod-b"].storage.direct);
    await stack.current.edgeSettled();
    expect(stack.current.edgeSeen().at(-1)).toMatchObject({
      outcome: "redirected",
      passedOver: expect.stringMatching(/^blobs\.stores\.0 is out since .*: answered 503$/),
    });
  });
});

describe("Pods with one store each", () => {
  const stack = useStack({ env });

  test("the cron's run asks no storage and writes nothing to KV", async () => {
    await stack.current.runCron();
    expect((await readStackKv(stack.current, ["health"])).get("health")).toBeNull();
    const seen = (["pod-a", "pod-b"] as const).flatMap((pod) => stack.current.seen(pod, "storage"));
    expect(seen).toEqual([]);
  });
});
