import { expect, test } from "vitest";
import { announcedBytes, dropHopByHop } from "../../src/net/headers.ts";

const body = new Blob(["x"]).stream();

test.each([
  ["1", 1],
  ["0", 0],
  ["9007199254740991", Number.MAX_SAFE_INTEGER],
  // JavaScript cannot hold this number exactly, so the length of the body counts as unknown.
  ["9007199254740993", null],
  ["99999999999999999999999999", null],
  ["-1", null],
  ["1, 1", null],
  ["", null],
])("a Content-Length of %j announces %j bytes", (length, bytes) => {
  expect(announcedBytes(body, new Headers({ "Content-Length": length }))).toBe(bytes);
});

test("a body without a Content-Length announces no length, and no body announces 0 bytes", () => {
  expect([announcedBytes(body, new Headers()), announcedBytes(null, new Headers())]).toEqual([null, 0]);
});

test("headers that Connection names are dropped, however many names it has", () => {
  const names = `${"a, ".repeat(5_000)}X-Own , close`;
  const kept = new Headers({ Connection: names, "X-Own": "1", "X-Other": "2", TE: "trailers" });
  dropHopByHop(kept, () => false);
  expect([...kept]).toEqual([["x-other", "2"]]);
});
