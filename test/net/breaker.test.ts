import { beforeEach, describe, expect, test } from "vitest";
import { Breaker } from "../../src/net/breaker.ts";

const service = "pod-a registry";
let breaker: Breaker;
let nowMs: number;
beforeEach(() => {
  breaker = new Breaker();
  nowMs = 1_800_000_000_000;
});

const admit = (name = service) => breaker.admit(name, nowMs).kind;
const fail = (startedAtMs = nowMs) => breaker.failed(service, { startedAtMs, nowMs, why: "connection refused" });
const answer = () => breaker.answered(service, nowMs);
const failThrice = () => {
  for (let count = 0; count < 3; count += 1) fail();
};

describe("breaker", () => {
  test("a service is called until three calls have failed in a row, and other services go on", () => {
    for (let count = 0; count < 3; count += 1) {
      expect(admit()).toBe("call");
      fail();
    }
    expect(breaker.admit(service, nowMs)).toEqual({ kind: "refused", why: "connection refused" });
    expect([admit("pod-a token"), admit("pod-b registry")]).toEqual(["call", "call"]);
  });

  test("an answer between failures begins a new row", () => {
    for (let count = 0; count < 20; count += 1) {
      fail();
      fail();
      nowMs += 1;
      answer();
      nowMs += 1;
    }
    expect(admit()).toBe("call");
  });

  test("a call that began before the last answer and fails later counts for nothing", () => {
    const startedAtMs = nowMs;
    nowMs += 5_000;
    answer();
    nowMs += 5_000;
    for (let count = 0; count < 10; count += 1) fail(startedAtMs);
    expect(admit()).toBe("call");
  });

  test("one probe is let through for each pause, and an answer opens the way at once", () => {
    failThrice();
    nowMs += 999;
    expect(admit()).toBe("refused");
    nowMs += 1;
    expect([admit(), admit(), admit()]).toEqual(["probe", "refused", "refused"]);
    fail();
    expect(admit()).toBe("refused");
    nowMs += 1_000;
    expect(admit()).toBe("probe");
    answer();
    expect([admit(), admit()]).toEqual(["call", "call"]);
  });

  test("many calls that were under way and fail now do not put off the probe", () => {
    const startedAtMs = nowMs;
    failThrice();
    for (let tenth = 0; tenth < 10; tenth += 1) {
      nowMs += 100;
      fail(startedAtMs);
    }
    expect(admit()).toBe("probe");
  });

  test("pauses grow with the outage, from a second to fifteen, and after a minute the next probe is within four seconds", () => {
    failThrice();
    const startedAtMs = nowMs;
    const pausesMs: number[] = [];
    let probedAtMs = nowMs;
    for (; nowMs < startedAtMs + 600_000; nowMs += 100) {
      if (admit() !== "probe") continue;
      fail();
      pausesMs.push(nowMs - probedAtMs);
      if (nowMs - startedAtMs <= 60_000) expect(nowMs - probedAtMs).toBeLessThanOrEqual(4_000);
      probedAtMs = nowMs;
    }
    expect(pausesMs[0]).toBe(1_000);
    expect(pausesMs.every((pause, index) => pause >= (pausesMs[index - 1] ?? 0))).toBe(true);
    expect(pausesMs.at(-1)).toBe(15_000);
  });
});
