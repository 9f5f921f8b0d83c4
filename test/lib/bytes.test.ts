import fc from "fast-check";
import { expect, test } from "vitest";
import { BoundedMap } from "../../src/lib/bounded-map.ts";
import { base64url, hex, parseBase64url, utf8 } from "../../src/lib/bytes.ts";

test("base64url is RFC 4648 §5 without padding, and its parse accepts nothing else", () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      expect(base64url(bytes)).toBe(Buffer.from(bytes).toString("base64url"));
      expect(parseBase64url(base64url(bytes))).toEqual(new Uint8Array(bytes));
    }),
  );
  for (const text of ["a", "a=", "ab+/", "ab cd", "AB"]) expect(parseBase64url(text)).toBeNull();
});

test("hex and utf8", () => expect(hex(utf8("é"))).toBe("c3a9"));

test("a bounded map drops what was set longest ago", () => {
  const map = new BoundedMap<string, number>(2);
  map.set("a", 1);
  map.set("b", 2);
  map.set("a", 3);
  map.set("c", 4);
  expect([map.get("a"), map.get("b"), map.get("c"), map.size]).toEqual([3, undefined, 4, 2]);
});
