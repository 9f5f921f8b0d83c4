import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Fault } from "../../src/local/taps/faults.ts";
import { createClient } from "../support/client.ts";
import { useStack, withOutage } from "../support/toy-stack.ts";

/** With `graceSeconds: 0`, the edge grants nothing in place of a token service that is down. So clients see each outage. */
const stack = useStack({ topology: withOutage("graceSeconds: 0") });
const unseenDigest = `sha256:${"0".repeat(64)}`;
const backWithinMs = 5_000;

let token: string;
beforeEach(async () => {
  token = await createClient(stack.current.edge).token(["repository:acme/app:pull,push"]);
});
afterEach(async () => {
  for (const service of ["registry", "token"] as const) {
    await stack.current.setFault("pod-a", service, { mode: "none" });
  }
});

const get = (path: string, method = "GET") => createClient(stack.current.edge).get(path, token, { method });
const getTokenOfA = () =>
  createClient(stack.current.edge).get("/jwt/auth?service=registry-edge&scope=repository:acme/hello:pull");

/** Only the registry of pod-a can answer these requests. */
const requests: readonly (() => Promise<Response>)[] = [
  () => get("/v2/acme/app/manifests/unseen"),
  () => get(`/v2/acme/app/blobs/${unseenDigest}`),
  () => get(`/v2/acme/app/blobs/${unseenDigest}`, "HEAD"),
  () => get("/v2/acme/app/tags/list"),
  () => get("/v2/acme/app/blobs/uploads/", "POST"),
];

/** A pull from pod-b must work in any outage of pod-a. Returns how many milliseconds the pull took. */
async function pullOther(): Promise<number> {
  const client = createClient(stack.current.edge);
  const startedAtMs = performance.now();
  const own = await client.token(["repository:globex/private:pull"]);
  expect((await client.get("/v2/globex/private/manifests/1", own)).status).toBe(200);
  return performance.now() - startedAtMs;
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
const times = async (count: number, work: () => Promise<number>): Promise<readonly number[]> => {
  const values: number[] = [];
  for (let done = 0; done < count; done += 1) values.push(await work());
  return values;
};

async function expectRefused(ask: () => Promise<Response>): Promise<void> {
  const startedAtMs = performance.now();
  const answer = await ask();
  expect([answer.status, answer.headers.get("Retry-After")]).toEqual([503, "5"]);
  await answer.arrayBuffer();
  expect(performance.now() - startedAtMs).toBeLessThan(1_000);
}

async function expectBack(ask: () => Promise<Response>, status: number): Promise<void> {
  const startedAtMs = performance.now();
  await expect.poll(async () => (await ask()).status, { timeout: backWithinMs, interval: 100 }).toBe(status);
  console.log(`a normal answer came ${(performance.now() - startedAtMs).toFixed(0)} ms after the end of the fault`);
}

const faults: readonly Fault[] = [
  { mode: "refuse" },
  { mode: "status", status: 503 },
  // Cloudflare answers 530 if it cannot find the service's host name.
  { mode: "status", status: 530 },
  { mode: "hang" },
];

describe("registry of one Pod", () => {
  test.each(faults)(
    "with the fault %j, after three failures all else is refused within a second, the Pod gets only probes, and the other Pod is as fast",
    async (fault) => {
      const before = median(await times(20, pullOther));
      await stack.current.setFault("pod-a", "registry", fault);
      const failing = Array.from({ length: 3 }, () => get(`/v2/acme/app/blobs/${unseenDigest}`, "HEAD"));
      expect((await Promise.all(failing)).map(({ status }) => status)).toEqual([503, 503, 503]);
      stack.current.clearSeen();
      const startedAtMs = performance.now();
      const during: number[] = [];
      while (performance.now() - startedAtMs < 3_000) {
        for (const ask of requests) await expectRefused(ask);
        during.push(await pullOther());
      }
      const seen = stack.current.seen("pod-a", "registry");
      expect(seen.length).toBeLessThanOrEqual(4);
      expect(new Set(seen.map(({ method, path, authorization }) => `${method} ${path} ${authorization}`))).toEqual(
        new Set(fault.mode === "refuse" ? [] : ["GET /v2/ none"]),
      );
      expect(median(during)).toBeLessThan(1.3 * before + 50);
      await stack.current.edgeSettled();
      expect(stack.current.edgeSeen()).toContainEqual(
        expect.objectContaining({ outcome: "unavailable", podRequests: 0, pod: "pod-a" }),
      );
      await stack.current.setFault("pod-a", "registry", { mode: "none" });
      await expectBack(() => get("/v2/acme/app/blobs/uploads/", "POST"), 202);
      for (const ask of requests) expect((await ask()).status).not.toBe(503);
    },
    60_000,
  );

  test("if it is slow but answers, it is never refused, and the other Pod is as fast", async () => {
    const before = median(await times(20, pullOther));
    await stack.current.setFault("pod-a", "registry", { mode: "delay", ms: 3_000 });
    const slow = [...requests, ...requests].map(async (ask) => (await ask()).status);
    const during = median(await times(20, pullOther));
    expect(during).toBeLessThan(1.3 * before + 50);
    expect(await Promise.all(slow)).not.toContain(503);
    await stack.current.setFault("pod-a", "registry", { mode: "none" });
  }, 60_000);

  test("if it resets connections in the middle of answers, it fails within a second, and the other Pod is served", async () => {
    await stack.current.setFault("pod-a", "registry", { mode: "reset" });
    for (const ask of [...requests, ...requests]) {
      const startedAtMs = performance.now();
      await ask()
        .then((answer) => answer.arrayBuffer())
        .catch(() => null);
      expect(performance.now() - startedAtMs).toBeLessThan(1_000);
    }
    await pullOther();
    await stack.current.setFault("pod-a", "registry", { mode: "none" });
    await expectBack(() => get("/v2/acme/app/blobs/uploads/", "POST"), 202);
  });
});

describe("token service of one Pod", () => {
  test.each(faults)(
    "with the fault %j, after three failures new tokens are refused within a second, valid ones and the other Pod go on",
    async (fault) => {
      await stack.current.setFault("pod-a", "token", fault);
      const failing = Array.from({ length: 3 }, getTokenOfA);
      for (const each of failing) each.catch(() => null);
      // After ten seconds without an answer, the breaker counts these calls as failures. The calls themselves may still wait, because a token service
      // may take 30 s.
      if (fault.mode === "hang") await sleep(10_500);
      else expect((await Promise.all(failing)).map(({ status }) => status)).toEqual([503, 503, 503]);
      for (let count = 0; count < 10; count += 1) await expectRefused(getTokenOfA);
      expect((await get("/v2/acme/app/blobs/uploads/", "POST")).status).toBe(202);
      await pullOther();
      await stack.current.setFault("pod-a", "token", { mode: "none" });
      await expectBack(getTokenOfA, 200);
    },
    60_000,
  );

  test.each<Fault>([{ mode: "status", status: 503 }, { mode: "hang" }])(
    "with the fault %j, it is also down for containerd, which asks only by forms",
    async (fault) => {
      const sendForm = () => {
        const user = { grant_type: "password", username: "demo", password: "demo" };
        const body = new URLSearchParams({ ...user, scope: "repository:acme/hello:pull" });
        return fetch(`${stack.current.edge}/jwt/auth`, { method: "POST", body });
      };
      await stack.current.setFault("pod-a", "token", fault);
      const failing = Array.from({ length: 3 }, sendForm);
      await (fault.mode === "hang" ? sleep(10_500) : Promise.all(failing));
      stack.current.clearSeen();
      for (let count = 0; count < 10; count += 1) await expectRefused(sendForm);
      const seen = stack.current
        .seen("pod-a", "token")
        .map(({ method, authorization }) => `${method} ${authorization}`);
      expect(seen.filter((each) => each !== "GET none")).toEqual([]);
      await stack.current.setFault("pod-a", "token", { mode: "none" });
      await expectBack(getTokenOfA, 200);
      await Promise.all(failing);
    },
    60_000,
  );

  test("a token for two Pods whose one token service is down comes at once from the other", async () => {
    await stack.current.setFault("pod-a", "token", { mode: "refuse" });
    await Promise.all([getTokenOfA(), getTokenOfA(), getTokenOfA()]);
    const client = createClient(stack.current.edge);
    const startedAtMs = performance.now();
    const both = await client.token(["repository:acme/hello:pull", "repository:globex/private:pull"]);
    expect(performance.now() - startedAtMs).toBeLessThan(1_000);
    expect((await client.get("/v2/globex/private/manifests/1", both)).status).toBe(200);
  });
});
