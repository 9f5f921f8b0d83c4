import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { healthOrNone } from "../../src/blobs/store-health.ts";
import type { BulkKv } from "../../src/directory/kv.ts";
import { resolvePod } from "../../src/directory/resolve.ts";
import { parseRepositoryName } from "../../src/oci/repository-name.ts";
import { type Isolate, startIsolate, startKv } from "../support/isolate.ts";

const running = await startKv();
afterAll(() => running.stop());

let state: "well" | "failing" | "silent" | { readonly slowMs: number };
let isolate: Isolate;
const kv: BulkKv = {
  get: async (...read) => {
    if (state === "failing") throw new Error("no KV");
    if (state === "silent") await new Promise(() => {});
    if (typeof state === "object") {
      await sleep(state.slowMs);
      isolate.nowMs += state.slowMs;
    }
    return running.kv.get(...read);
  },
};

const assign = (prefix: string, pod: string) =>
  running.kv.put(`route/${prefix}`, JSON.stringify({ v: 1, pod, revision: 1, state: "active" }));
beforeEach(async () => {
  state = "well";
  isolate = startIsolate(kv);
  for (const pod of ["pod-a", "pod-b"]) {
    const services = { registry: `https://${pod}.test`, token: `https://${pod}.test/jwt/auth` };
    const record = { v: 1, revision: 1, state: "active", ...services, issuer: "i", audience: "a", keys: [] };
    await running.kv.put(`pod/${pod}`, JSON.stringify(record));
  }
  await assign("acme", "pod-a");
  await assign("globex", "pod-b");
});

type Told = { readonly pod: string | null; readonly ms: number };

/** On an error, `pod` is the error's text. */
async function resolve(text: string, options: { mustBeCurrent?: boolean } = {}): Promise<Told> {
  const name = parseRepositoryName(text);
  if (!name.ok) throw new Error(name.error);
  const startedAtMs = performance.now();
  const resolution = await resolvePod(isolate.directory(), { name: name.value, ...options });
  const ms = performance.now() - startedAtMs;
  return { pod: resolution.ok ? (resolution.value.pod?.id ?? null) : resolution.error.text, ms };
}
const resolveForWrite = (text: string) => resolve(text, { mustBeCurrent: true });
const expire = () => {
  isolate.nowMs += 31_000;
};
const readsEnded = () => Promise.all(isolate.reads);
const patienceMs = 250;
const atOnceMs = 100;

describe("KV that answers in time", () => {
  test("what has expired is never used, but read again", async () => {
    expect(await resolve("acme/app")).toMatchObject({ pod: "pod-a" });
    await assign("acme", "pod-b");
    expect(await resolve("acme/app")).toMatchObject({ pod: "pod-a" });
    expire();
    expect(await resolve("acme/app")).toMatchObject({ pod: "pod-b" });
  });
});

describe("name that is in use", () => {
  test("a third of the time before it expires, one read refreshes it behind the requests", async () => {
    await resolve("acme/app");
    const reads = isolate.trace.kvReads;
    isolate.nowMs += 9_000;
    await resolve("acme/app");
    expect(isolate.trace.kvReads).toBe(reads);
    await assign("acme", "pod-b");
    // After these 12 s, keys without a value, such as `blocks` here, have expired. The assignment and the Pod's record have not.
    isolate.nowMs += 12_000;
    await resolve("acme/app");
    state = { slowMs: 100 };
    const asked = isolate.trace.kvKeys;
    for (let count = 0; count < 5; count += 1) expect(await resolve("acme/app")).toMatchObject({ pod: "pod-a" });
    expect(isolate.trace.kvKeys - asked).toBe(1);
    await readsEnded();
    expect(await resolve("acme/app")).toMatchObject({ pod: "pod-b" });
  });

  test.each(["silent", "failing", { slowMs: 1_000 }] as const)(
    "it never waits for KV, not even when KV begins to be %j",
    async (fault) => {
      await resolve("acme/app");
      state = fault;
      for (let count = 0; count < 10; count += 1) {
        isolate.nowMs += 4_000;
        const told = await resolve("acme/app");
        expect(told.pod).toBe("pod-a");
        expect(told.ms).toBeLessThan(atOnceMs);
        await sleep(patienceMs + 50);
      }
      // A slow read moves the clock of `isolate` when it ends. If it ended in the next test, it would move the clock of that test's isolate.
      await readsEnded();
    },
    20_000,
  );
});

describe("KV that is slow", () => {
  test("a known name waits for a quarter of a second, the next ones not at all, and what is read behind is used then", async () => {
    await resolve("acme/app");
    await assign("acme", "pod-b");
    expire();
    state = { slowMs: 1_000 };
    const first = await resolve("acme/app");
    expect(first.pod).toBe("pod-a");
    expect(first.ms).toBeGreaterThan(patienceMs - 10);
    const reads = isolate.trace.kvReads;
    for (let count = 0; count < 10; count += 1) {
      const next = await resolve("acme/app");
      expect(next.pod).toBe("pod-a");
      expect(next.ms).toBeLessThan(atOnceMs);
    }
    // The reads of all keys are still under way, so none is repeated.
    expect(isolate.trace.kvReads).toBe(reads);
    expect(isolate.trace.kvFailure).toBe("KV did not answer within 250 ms");
    await readsEnded();
    expect(await resolve("acme/app")).toMatchObject({ pod: "pod-b" });
  });

  test("a write waits for it, and so does a name that this isolate does not know", async () => {
    await resolve("acme/app");
    expire();
    state = { slowMs: 600 };
    await resolve("acme/app");
    await assign("acme", "pod-b");
    const write = await resolveForWrite("acme/app");
    expect(write.pod).toBe("pod-b");
    expect(write.ms).toBeGreaterThan(550);
    expect(await resolve("globex/app")).toMatchObject({ pod: "pod-b" });
  });

  test("a name that was read more than five minutes ago waits for it", async () => {
    await resolve("acme/app");
    await assign("acme", "pod-b");
    isolate.nowMs += 301_000;
    state = { slowMs: 600 };
    expect(await resolve("acme/app")).toMatchObject({ pod: "pod-b" });
  });

  test("a first read that is slow does not make it slow for known names", async () => {
    await resolve("acme/app");
    state = { slowMs: 400 };
    await resolve("globex/app");
    state = "well";
    await assign("acme", "pod-b");
    expire();
    expect(await resolve("acme/app")).toMatchObject({ pod: "pod-b" });
  });
});

describe("KV that never answers", () => {
  test("a known name is served at once, and a write is refused within a second once that is known", async () => {
    await resolve("acme/app");
    expire();
    state = "silent";
    expect((await resolve("acme/app")).ms).toBeGreaterThan(patienceMs - 10);
    expect((await resolve("acme/app")).ms).toBeLessThan(atOnceMs);
    expect(await resolveForWrite("acme/app")).toMatchObject({ pod: "KV did not answer within 5000 ms" });
    for (let count = 0; count < 4; count += 1) {
      const refused = await resolveForWrite("acme/app");
      expect(refused.pod).toMatch(/^KV did not answer/);
      expect(refused.ms).toBeLessThan(1_000 + atOnceMs);
      expect(await resolve("acme/app")).toMatchObject({ pod: "pod-a" });
    }
    isolate.nowMs += 3_600_000;
    expect((await resolve("acme/app")).pod).toBe("pod-a");
  }, 20_000);

  test("a write works within a second of its return, whatever reads of before end later", async () => {
    await resolve("acme/app");
    expire();
    state = "silent";
    await resolveForWrite("acme/app");
    isolate.nowMs += 1_001;
    const late = resolve("globex/app");
    isolate.nowMs += 1_001;
    state = "well";
    expect(await resolveForWrite("acme/app")).toMatchObject({ pod: "pod-a" });
    await late;
    await readsEnded();
    expect(await resolveForWrite("acme/app")).toMatchObject({ pod: "pod-a" });
  }, 20_000);
});

describe("verdicts on stores, which a pull can do without", () => {
  const timed = async () => {
    const startedAtMs = performance.now();
    const { size } = await healthOrNone(isolate.directory());
    return { size, ms: performance.now() - startedAtMs };
  };
  const verdict = { pod: "pod-a", place: "a.test", state: "in", since: "2026-03-01T12:00:00.000Z" };
  beforeEach(() => running.kv.put("health", JSON.stringify({ v: 1, stores: [verdict] })));

  test("an isolate without them waits a quarter of a second for a KV that never answers, and once that is known, not at all", async () => {
    state = "silent";
    for (let count = 0; count < 3; count += 1) {
      const told = await timed();
      expect(told.size).toBe(0);
      expect(told.ms).toBeLessThan(patienceMs + atOnceMs);
    }
    await readsEnded();
    expect((await timed()).ms).toBeLessThan(atOnceMs);
  }, 20_000);

  test("what a slow KV answers later is used then", async () => {
    state = { slowMs: 600 };
    expect((await timed()).size).toBe(0);
    await readsEnded();
    expect(await timed()).toMatchObject({ size: 1 });
  });
});

describe("KV that fails", () => {
  test("one failure does not refuse the next write, because KV is asked again", async () => {
    await resolve("acme/app");
    state = "failing";
    await resolve("globex/app");
    state = "well";
    expect(await resolveForWrite("acme/app")).toMatchObject({ pod: "pod-a" });
  });

  test("it is asked once a second, and a write works within a second of its return", async () => {
    await resolve("acme/app");
    expire();
    state = "failing";
    for (let count = 0; count < 5; count += 1) await resolveForWrite("acme/app");
    const reads = isolate.trace.kvReads;
    for (let tenth = 0; tenth < 50; tenth += 1) {
      expect(await resolveForWrite("acme/app")).toMatchObject({ pod: "KV read failed: no KV" });
      expect(await resolve("acme/app")).toMatchObject({ pod: "pod-a" });
      isolate.nowMs += 100;
    }
    expect(isolate.trace.kvReads - reads).toBeLessThanOrEqual(5);
    state = "well";
    isolate.nowMs += 1_000;
    expect(await resolveForWrite("acme/app")).toMatchObject({ pod: "pod-a" });
  });
});
