import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cellOf, routingText } from "../../src/token-endpoint/routable-token.ts";
import { jobToken, routableToken } from "../support/routable-token.ts";

/** GitLab's own example ("Routable tokens", cells design documents). */
const vector = "EL25d_AKXDUtqLnIQHEpkG86MQM.01.0r1ajj2i3";

const base36 = fc.stringMatching(/^[1-9a-z][0-9a-z]{0,12}$/);
const routing = fc.record({ c: base36, g: fc.option(base36), o: base36, u: fc.option(base36) }).map((keys) =>
  Object.entries(keys)
    .flatMap(([key, value]) => (value === null ? [] : [`${key}:${value}`]))
    .join("\n"),
);
/** GitLab allows base64's characters and `_@:.-` in the prefix that an instance chooses (`personal_access_token_prefix`). */
const prefix = fc.constantFrom(
  "",
  "glpat-",
  "gldt-",
  "corp-glpat-",
  "a_b-",
  "corp:",
  "git.corp/",
  "a+b=",
  "me@corp.",
  ".01.",
);

describe("routingText", () => {
  test("it reads GitLab's own example", () => {
    expect(routingText(vector)).toBe("o:1");
    expect(cellOf(vector)).toBeNull();
  });

  test("it reads a token with any prefix, even one made of the payload's characters", () => {
    fc.assert(
      fc.property(prefix, routing, (before, text) => {
        expect(routingText(routableToken(before, text))).toBe(text);
      }),
    );
  });

  test("a token with any one character changed is not routable", () => {
    fc.assert(
      fc.property(
        prefix,
        routing,
        fc.nat(),
        fc.constantFrom("0", "a", "Z", "_", "-", ".", "~"),
        (before, text, place, character) => {
          const token = routableToken(before, text);
          const at = place % token.length;
          fc.pre(token[at] !== character);
          expect(routingText(token.slice(0, at) + character + token.slice(at + 1))).toBeNull();
        },
      ),
    );
  });

  test.each([
    ["another version", vector.replace(".01.", ".02.")],
    ["the older form without one", vector.replace(".01.", ".")],
    ["a payload shorter than it says", vector.slice(1)],
    ["more after it", `${vector}0`],
    ["a line break after it", `${vector}\n`],
    ["more characters than any has", routableToken("a".repeat(200), `c:1\n${"o".repeat(157)}`)],
    ["an empty text", ""],
    ["a password", "hunter2"],
    ["the old job token", "glcbt-64_abcdefghijklmnopqrst"],
  ])("%s is not routable", (_, text) => expect([routingText(text), cellOf(text)]).toEqual([null, null]));

  test("no text makes it throw", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(cellOf(text)).toBeNull();
      }),
    );
  });
});

describe("cellOf", () => {
  test("it is the cell's line of the routing text", () => {
    fc.assert(
      fc.property(prefix, base36, base36, (before, cell, organization) => {
        expect(cellOf(routableToken(before, `c:${cell}\no:${organization}`))).toBe(cell);
        expect(cellOf(routableToken(before, `o:${organization}`))).toBeNull();
      }),
    );
  });

  test.each(["c:", "c:A", "c:1 2", `c:${"1".repeat(14)}`, "cc:1", "o:c:1"])(
    "the routing text %j names no cell",
    (text) => {
      expect(cellOf(routableToken("", text))).toBeNull();
    },
  );

  test("it is claim `c` of a CI job token, with an instance's prefix or without", async () => {
    expect(cellOf(await jobToken({ c: "2k" }))).toBe("2k");
    expect(cellOf(await jobToken({ c: "2k" }, "corp-glcbt-"))).toBe("2k");
    expect(cellOf(await jobToken({ c: "2k" }, "git.corp:ci-glcbt-"))).toBe("2k");
  });

  test("nothing else in a job token counts as a cell", async () => {
    for (const claims of [{}, { c: 5 }, { cell_id: 5 }, { c: "2K" }, { c: "" }]) {
      expect(cellOf(await jobToken(claims))).toBeNull();
    }
    for (const before of ["", "glpat-", "glcbt"]) expect(cellOf(await jobToken({ c: "2k" }, before))).toBeNull();
    expect(cellOf("glcbt-a.b.c")).toBeNull();
    expect(cellOf(await jobToken({ c: "2k", padding: "x".repeat(8192) }))).toBeNull();
  });
});
