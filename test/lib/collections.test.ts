import { expect, test } from "vitest";
import { BoundedMap, chunksOf } from "../../src/lib/collections.ts";

test("a bounded map drops what was set longest ago", () => {
  const map = new BoundedMap<string, number>(2);
  map.set("a", 1);
  map.set("b", 2);
  map.set("a", 3);
  map.set("c", 4);
  expect([map.get("a"), map.get("b"), map.get("c"), map.size]).toEqual([3, undefined, 4, 2]);
});

test("a bounded map drops what was set longest ago until it is light enough", () => {
  const map = new BoundedMap<string, number>(10, { maxBytes: 10, bytesOf: (value) => value });
  map.set("a", 4);
  map.set("b", 4);
  map.set("b", 6);
  expect([map.get("a"), map.get("b")]).toEqual([4, 6]);
  map.set("c", 7);
  expect([map.get("a"), map.get("b"), map.get("c")]).toEqual([undefined, undefined, 7]);
  map.delete("c");
  map.set("d", 10);
  map.set("e", 11);
  expect([map.get("d"), map.get("e"), map.size]).toEqual([undefined, undefined, 0]);
});

test("chunks hold the items in their order, and only the last one is smaller", () => {
  expect(chunksOf([1, 2, 3, 4, 5], 2)).toEqual([[1, 2], [3, 4], [5]]);
  expect(chunksOf([], 2)).toEqual([]);
});
