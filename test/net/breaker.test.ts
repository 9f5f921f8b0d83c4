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
const failPing = (startedAtMs = nowMs) => breaker.failedPing(service, { startedAtMs, nowMs });
const answer = () => breaker.answered(service, nowMs);
const failThrice = () => [fail(), fail(), fail()];

describe("breaker", () => {
  test("a service is called until three calls have failed in a row and its ping too, and other services go on", () => {
    expect(failThrice()).toEqual([false, false, true]);
    expect(admit()).toBe("call");
    failPing();
    expect(breaker.admit(service, nowMs)).toEqual({ kind: "refused", why: "connection refused" });
    expect([admit("pod-a token"), admit("pod-b registry")]).toEqual(["call", "call"]);
  });

  test("the three services of 500 Pods, which is the largest fleet, are remembered at once", () => {
    failThrice();
    failPing();
    for (let pod = 0; pod < 499; pod += 1) {
      for (const kind of ["registry", "token", "gateway"]) breaker.answered(`other-${pod} ${kind}`, nowMs);
    }
    expect(admit()).toBe("refused");
  });

  test("an answer between failures begins a new row", () => {
    for (let count = 0; count < 20; count += 1) {
      expect([fail(), fail()]).toEqual([false, false]);
      nowMs += 1;
      answer();
      nowMs += 1;
    }
  });

  test("a call or a ping that began before the last answer and fails later counts for nothing", () => {
    const startedAtMs = nowMs;
    nowMs += 5_000;
    answer();
    nowMs += 5_000;
    for (let count = 0; count < 10; count += 1) expect(fail(startedAtMs)).toBe(false);
    failThrice();
    failPing(startedAtMs);
    expect(admit()).toBe("call");
  });

  test("however many calls fail, a service that answers its pings gets at most one in a second", () => {
    let pings = 0;
    for (const endsAtMs = nowMs + 60_000; nowMs < endsAtMs; nowMs += 10) {
      if (!fail()) continue;
      pings += 1;
      answer();
    }
    expect(pings).toBe(60);
    expect(admit()).toBe("call");
  });

  test("one probe is let through for each pause, and an answer opens the way at once", () => {
    failThrice();
    failPing();
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
    failPing();
    for (let tenth = 0; tenth < 10; tenth += 1) {
      nowMs += 100;
      expect(fail(startedAtMs)).toBe(false);
    }
    expect(admit()).toBe("probe");
  });

  test("pauses grow with the outage, from a second to fifteen, and after a minute the next probe is within four seconds", () => {
    failThrice();
    failPing();
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

  test("a service that no request has asked for in five minutes is called by each one that comes then, because the outage may be over", () => {
    failThrice();
    failPing();
    nowMs += 1_000 + 300_000;
    expect([admit(), admit(), admit()]).toEqual(["call", "call", "call"]);
    expect(failThrice()).toEqual([false, false, true]);
    failPing();
    expect(admit()).toBe("refused");
  });

  test("a service that fails again just after a long outage is pinged at once", () => {
    failThrice();
    failPing();
    nowMs += 240_000;
    expect(admit()).toBe("probe");
    answer();
    expect(failThrice()).toEqual([false, false, true]);
  });
});
