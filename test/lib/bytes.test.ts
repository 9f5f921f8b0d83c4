import fc from "fast-check";
import { expect, test } from "vitest";
import { base64url, hex, parseBase64, parseBase64url, utf8 } from "../../src/lib/bytes.ts";

test("base64url is RFC 4648 §5 without padding, and its parse accepts nothing else", () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      expect(base64url(bytes)).toBe(Buffer.from(bytes).toString("base64url"));
      expect(parseBase64url(base64url(bytes))).toEqual(new Uint8Array(bytes));
    }),
  );
  for (const text of ["a", "a=", "ab+/", "ab cd", "AB"]) expect(parseBase64url(text)).toBeNull();
});

test("hex writes the UTF-8 bytes of a text as digits", () => expect(hex(utf8("é"))).toBe("c3a9"));

test("base64 is read in either alphabet, padded or not, and a run of padding inside it takes linear time", () => {
  for (const text of ["-_8=", "+/8=", "+/8", "-_8"]) expect(parseBase64(text)).toEqual(Uint8Array.of(251, 255));
  expect(parseBase64(`${"=".repeat(1_000_000)}x`)).toBeNull();
});
