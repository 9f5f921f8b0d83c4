import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { budgetSpent } from "../../src/refusal.ts";
import type { Outcome } from "../../src/telemetry/log-line.ts";
import { drawSample } from "../../src/telemetry/sample.ts";

const never = {
  rate: () => 0,
  random: (): number => {
    throw new Error("no number is drawn for a fault");
  },
};

describe("log line of a fault", () => {
  test.each<[Outcome, number, string?]>([
    ["blocked", 403],
    ["broken", 200],
    ["failed", 500],
    ["failed", 502],
    ["unavailable", 503],
    ["forwarded", 500],
    ["forwarded", 503],
    ["token", 502],
    ["unavailable", 503, "KV read failed: KV is gone"],
  ])("it is written at a rate of 0, and counts for itself only: %s with %i", (outcome, status, cause) => {
    expect(drawSample({ outcome, status, ...(cause !== undefined && { cause }) }, never)).toBe(1);
  });
});

describe("log line of an ordinary request", () => {
  const ordinary: readonly [Outcome, number, string?][] = [
    ["challenged", 401],
    ["redirected", 307],
    ["forwarded", 200],
    ["forwarded", 404],
    ["kept", 200],
    ["stale", 200],
    ["token", 200],
    ["token", 401],
    ["refused", 400],
    ["refused", 403, "read-only"],
    ["refused", 403, "client-denied"],
    ["refused", 404, "name-unknown"],
    ["unavailable", 503, budgetSpent],
    ["client-left", 499],
    ["health", 200],
  ];

  test.each<[Outcome, number, string?]>(ordinary)(
    "it is never written at a rate of 0, and always at a rate of 1: %s with %i",
    (outcome, status, cause) => {
      const draw = (rate: number, random: number) =>
        drawSample(
          { outcome, status, ...(cause !== undefined && { cause }) },
          { rate: () => rate, random: () => random },
        );
      expect([draw(0, 0), draw(1, 0.999)]).toEqual([null, 1]);
    },
  );

  test("a challenge whose cause only the log gets is ordinary, because tokens expire all the time", () => {
    const expired = { outcome: "challenged", status: 401, cause: "invalid_token" } as const;
    expect(drawSample(expired, { rate: () => 0, random: () => 0 })).toBe(null);
  });

  test("the lines, each counted by its rate, add up to the requests", () => {
    const rate = fc.double({ min: 0.01, max: 1, noNaN: true });
    fc.assert(
      fc.property(rate, (part) => {
        // The draws are spread evenly, so there is at most one line too many or too few. Each line counts for 1 / `part` requests.
        const draws = Array.from({ length: 1_000 }, (_, index) => index / 1_000);
        const samples = draws.map((draw) =>
          drawSample({ outcome: "forwarded", status: 200 }, { rate: () => part, random: () => draw }),
        );
        const requests = samples.reduce<number>((sum, sample) => sum + (sample === null ? 0 : 1 / sample), 0);
        expect(Math.abs(requests - 1_000)).toBeLessThanOrEqual(1 / part);
      }),
    );
  });
});
