import fc from "fast-check";
import { expect, test } from "vitest";
import type { PodId } from "../../src/directory/pod-id.ts";
import type { Prefix } from "../../src/oci/repository-name.ts";
import { Assignments } from "../../src/topology/assignments.ts";
import { repositoryName } from "../support/generators.ts";

const pod = fc.constantFrom("pod-a", "pod-b", "pod-c") as fc.Arbitrary<PodId>;
const pairs = fc.array(fc.tuple(repositoryName as unknown as fc.Arbitrary<Prefix>, pod), { maxLength: 50 });

const addAll = (assignments: Assignments, entries: readonly (readonly [Prefix, PodId])[]): readonly number[] =>
  assignments.addAll(
    entries.map(([prefix]) => prefix),
    entries.map(([, id]) => id),
  );

test("assignments hold what a Map holds, in its order, and refuse a second time what is there", () => {
  fc.assert(
    fc.property(pairs, fc.array(fc.string({ unit: "binary" })), (pairs, strangers) => {
      const [assignments, map] = [new Assignments(), new Map<Prefix, PodId>()];
      for (const [prefix, id] of pairs) {
        expect(assignments.add(prefix, id)).toBe(!map.has(prefix));
        if (!map.has(prefix)) map.set(prefix, id);
      }
      expect([...assignments]).toEqual([...map]);
      expect(assignments.size).toBe(map.size);
      for (const text of [...map.keys(), ...strangers]) expect(assignments.get(text)).toBe(map.get(text as Prefix));
    }),
  );
});

test("added all at once, into room for few or many, they are as added one by one; the places of the refused are told", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(50_000), pairs), { maxLength: 30 }), (batches) => {
      const [atOnce, oneByOne] = [new Assignments(), new Assignments()];
      for (const [roomBytes, batch] of batches) {
        atOnce.reserve(roomBytes);
        const refused = batch.flatMap(([prefix, id], at) => (oneByOne.add(prefix, id) ? [] : [at]));
        expect(addAll(atOnce, batch)).toEqual(refused);
      }
      expect([...atOnce]).toEqual([...oneByOne]);
    }),
  );
});

test("what nobody took off a checklist is its rest, in its order", () => {
  fc.assert(
    fc.property(pairs, fc.array(fc.nat(60)), fc.array(fc.string({ unit: "binary" })), (pairs, picks, strangers) => {
      const assignments = new Assignments();
      addAll(assignments, pairs);
      const all = [...assignments];
      const picked = new Set<string>(picks.flatMap((pick) => all[pick]?.[0] ?? []));
      const checklist = assignments.checklist();
      for (const asked of [[...picked, ...strangers], [...picked]]) {
        expect(checklist.take(asked)).toEqual(asked.map((prefix) => assignments.get(prefix)));
      }
      expect([...checklist.rest()]).toEqual(all.filter(([prefix]) => ![...picked, ...strangers].includes(prefix)));
      expect([...assignments.checklist().rest()]).toEqual(all);
    }),
  );
});

test("a hundred thousand are all there", () => {
  const assignments = new Assignments();
  const prefixOf = (index: number) => `group-${(index * 2_654_435_761) % 4_294_967_296}/t` as Prefix;
  const all = Array.from({ length: 100_000 }, (_, index) => [prefixOf(index), `pod-${index % 7}` as PodId] as const);
  expect(addAll(assignments, [...all, ...all.slice(0, 3)])).toEqual([100_000, 100_001, 100_002]);
  for (let index = 0; index < 100_000; index += 1) {
    if (assignments.get(prefixOf(index)) !== `pod-${index % 7}` || assignments.add(prefixOf(index), "x" as PodId)) {
      throw new Error(`${prefixOf(index)} is lost`);
    }
  }
  expect([assignments.size, assignments.get("group-1")]).toEqual([100_000, undefined]);
});
