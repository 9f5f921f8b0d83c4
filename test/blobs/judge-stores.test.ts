import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type CheckAnswer,
  checksInARow,
  contradicted,
  type Judged,
  judgePod,
  turnOf,
} from "../../src/blobs/judge-stores.ts";
import type { PodId } from "../../src/directory/pod-id.ts";
import type { StoreVerdict } from "../../src/directory/records.ts";

const pod = "pod-a" as PodId;
const now = new Date("2026-03-01T12:00:00.000Z");
type State = "in" | "out" | null;

const verdict = (place: string, state: Exclude<State, null>, since = "2026-01-01T00:00:00.000Z"): StoreVerdict =>
  state === "in" ? { pod, place, since, state } : { pod, place, since, state, why: "answered 503" };
const store = (place: string, state: State): Judged => ({
  pod,
  place,
  verdict: state === null ? null : verdict(place, state),
});

/** As in one run of the cron, a store may be asked several times. `check` counts these questions from 1. */
async function run(stores: readonly Judged[], answersOf: (place: string, check: number) => CheckAnswer, own = false) {
  const asked = new Map<string, number>();
  const changes = await contradicted(stores, {
    ask: async (some) =>
      some.map(({ place }) => {
        const check = (asked.get(place) ?? 0) + 1;
        asked.set(place, check);
        return answersOf(place, check);
      }),
    pause: async () => {},
  });
  const verdicts = judgePod(stores, changes, { redirectsItself: own, now });
  const states = stores.map(({ place }) => verdicts.find((each) => each.place === place)?.state ?? null);
  return { verdicts, states, asked: stores.map(({ place }) => asked.get(place)) };
}

const fails = "answered 503";

describe("a store next to one that is in", () => {
  test.each<[string, State, string, State, number]>([
    ["stays in by one answer", "in", "+", "in", 1],
    ["stays in by an answer after two failures", "in", "--+", "in", 3],
    ["is taken out by three failures in a row", "in", "---", "out", 3],
    ["stays out by one failure", "out", "-", "out", 1],
    ["stays out by a failure after two answers", "out", "++-", "out", 3],
    ["comes back by three answers in a row", "out", "+++", "in", 3],
    ["has its first verdict by three answers in a row", null, "+++", "in", 3],
    ["has no verdict yet if it does not answer", null, "-", null, 1],
    ["has no verdict yet by a failure after two answers", null, "++-", null, 3],
  ])("%s", async (_, state, answers, after, asked) => {
    const result = await run([store("a", state), store("b", "in")], (place, check) =>
      place === "b" || answers[check - 1] === "+" ? null : fails,
    );
    expect([result.states, result.asked]).toEqual([
      [after, "in"],
      [asked, 1],
    ]);
  });

  test("has a new verdict with its time and the last failure, while an unchanged verdict is the same value", async () => {
    const stores = [store("a", "in"), store("b", "in")];
    const { verdicts } = await run(stores, (place, check) => (place === "a" ? `answered 50${check}` : null));
    expect(verdicts[0]).toEqual({ pod, place: "a", state: "out", since: now.toISOString(), why: "answered 503" });
    expect(verdicts[1]).toBe(stores[1]?.verdict);
  });
});

describe("if no store of a Pod answers", () => {
  test.each<[string, readonly State[], readonly State[]]>([
    ["none is taken out", ["in", "in"], ["in", "in"]],
    ["the last one that is in stays in", ["out", "in"], ["out", "in"]],
    ["a store without a verdict does not count as one that is left", ["in", null], ["in", null]],
  ])("%s", async (_, before, after) => {
    const stores = before.map((state, index) => store(String(index), state));
    expect((await run(stores, () => fails)).states).toEqual(after);
  });

  test("all are taken out if the Pod itself redirects", async () => {
    expect((await run([store("a", "in"), store("b", "in")], () => fails, true)).states).toEqual(["out", "out"]);
  });
});

test("a Pod with a store that is in always keeps such a store, whatever the answers are", () =>
  fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(fc.boolean(), { minLength: 9, maxLength: 9 }), { minLength: 1, maxLength: 12 }),
      async (runs) => {
        let stores = [store("0", "in"), store("1", null), store("2", "out")];
        for (const answers of runs) {
          const { verdicts } = await run(stores, (place, check) =>
            answers[Number(place) * checksInARow + check - 1] ? null : fails,
          );
          stores = stores.map((each) => ({
            ...each,
            verdict: verdicts.find(({ place }) => place === each.place) ?? null,
          }));
          expect(stores.map((each) => each.verdict?.state)).toContain("in");
        }
      },
    ),
  ));

test("if one answer in ten is a failure, at most one store in fifty is taken out in ten minutes, and none twice", async () => {
  const trials = 1_000;
  const dice = fc.sample(fc.noBias(fc.integer({ min: 0, max: 9 })), { numRuns: trials * 80, seed: 16 });
  const changes: number[] = [];
  for (let trial = 0; trial < trials; trial += 1) {
    let tried = store("a", "in");
    let taken = 0;
    for (let minute = 0; minute < 10; minute += 1) {
      const { verdicts } = await run([tried, store("b", "in")], (place) =>
        place === "a" && dice.pop() === 0 ? fails : null,
      );
      const after = verdicts.find(({ place }) => place === "a") ?? null;
      if (tried.verdict?.state === "in" && after?.state === "out") taken += 1;
      tried = { ...tried, verdict: after };
    }
    changes.push(taken);
  }
  expect(changes.filter((taken) => taken > 0).length).toBeLessThanOrEqual(trials / 50);
  expect(Math.max(...changes)).toBeLessThanOrEqual(1);
});

describe("the turns of a large fleet", () => {
  test("all items have one turn each, in their order and with a limit of stores for a turn, and then the turns begin again", () =>
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 14 }), { minLength: 1, maxLength: 60 }), (sizes) => {
        const items = sizes.map((size, index) => ({ size, index }));
        const turns: (typeof items)[] = [];
        for (let minute = 0; turns.flat().length < items.length; minute += 1)
          turns.push([...turnOf(items, 14, minute)]);
        expect(turns.flat()).toEqual(items);
        for (const turn of turns) expect(turn.reduce((sum, { size }) => sum + size, 0)).toBeLessThanOrEqual(14);
        expect(turnOf(items, 14, turns.length)).toEqual(turns[0]);
      }),
    ));

  test("without items there is nothing to do", () => {
    expect(turnOf([], 14, 29_538_000)).toEqual([]);
  });
});
