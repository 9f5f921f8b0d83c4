import fc from "fast-check";
import { expect, test } from "vitest";
import { joinParameters, readParameters } from "../../src/oci/query.ts";

const piece = fc.constantFrom(
  "a",
  "=",
  "&",
  "&&",
  "?",
  "+",
  "%",
  "%26",
  "%3D",
  "%ff",
  "%C3%A9",
  "é",
  "\ud800",
  "#",
  ";",
);
const queries = fc.array(piece, { maxLength: 30 }).map((pieces) => pieces.join(""));

test("query: every parameter is decoded as if it were the only one", () => {
  fc.assert(
    fc.property(queries, (query) => {
      const expected = query.split("&").map((text) => {
        const [[name, value] = ["", ""]] = new URLSearchParams(`?${text}`);
        return { name, value, text };
      });
      expect(readParameters(query)).toEqual(expected);
    }),
    { numRuns: 2_000 },
  );
});

test("query: its parameters join to the same query, byte for byte", () => {
  fc.assert(fc.property(queries, (query) => joinParameters(readParameters(query)) === query));
});
