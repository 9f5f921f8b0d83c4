import fc from "fast-check";
import { expect, test } from "vitest";
import { signingWindow } from "../../src/signers/window.ts";

const minutes = (count: number) => count * 60_000;
const anyTime = fc.date({ min: new Date("2026-01-01"), max: new Date("2030-01-01"), noInvalidDate: true });

test("at any time a new URL has twenty to thirty minutes left", () => {
  fc.assert(
    fc.property(anyTime, (now) => {
      const left = (signingWindow(now, null)?.expiresAt.getTime() ?? 0) - now.getTime();
      expect(left).toBeGreaterThanOrEqual(minutes(20));
      expect(left).toBeLessThanOrEqual(minutes(30));
    }),
  );
});

test("all URLs of one window have one time of issue and one end, and the next window has others", () => {
  const at = (time: string) => signingWindow(new Date(time), null);
  expect(at("2026-11-23T10:00:00.000Z")).toEqual(at("2026-11-23T10:09:59.999Z"));
  expect(at("2026-11-23T10:00:00Z")).not.toEqual(at("2026-11-23T10:10:00Z"));
});

test("a URL does not outlive its credential, and is not made with less than twenty minutes left", () => {
  fc.assert(
    fc.property(anyTime, fc.integer({ min: -minutes(60), max: minutes(60) }), (now, lifeMs) => {
      const credentialEndsAt = new Date(now.getTime() + lifeMs);
      const window = signingWindow(now, credentialEndsAt);
      const end = window?.expiresAt.getTime();
      if (end === undefined) expect(lifeMs).toBeLessThan(minutes(20) + 1000);
      else expect([end <= credentialEndsAt.getTime(), end - now.getTime() >= minutes(20)]).toEqual([true, true]);
    }),
  );
});
