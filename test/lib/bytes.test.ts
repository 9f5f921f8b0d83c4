import fc from "fast-check";
import { expect, test } from "vitest";
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
