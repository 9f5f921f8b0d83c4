import { describe, expect, test } from "vitest";
import { accepts, acceptsAnyManifest, manifestTypeOf } from "../../src/oci/manifest-types.ts";
import { manifestTypes } from "../support/client.ts";

const image = "application/vnd.oci.image.manifest.v1+json";

describe("accepts", () => {
  test.each([image, `text/html, ${image}`, `${image};q=0.5,*/*`, ` ${image} ; q=1.000`, manifestTypes])(
    "takes an image manifest by Accept %j",
    (accept) => {
      expect(accepts(accept, image)).toBe(true);
    },
  );

  test.each([
    null,
    "",
    "*/*",
    "application/*",
    `${image}x`,
    `x${image}`,
    image.toUpperCase(),
    `${image};q=0`,
    `${image};q=0.000`,
    `${image};q=2`,
    `${image};q=x`,
    `${image};charset=utf-8`,
    `${image};q=1;x=y`,
    `${image};q=1.5`,
    `${image}, ${image};q=0`,
    `\ufeff${image}`,
    `\u00a0${image}`,
    `text/html, \u2003${image}`,
    `${image}\u0085`,
    `text/html\ufeff, ${image}`,
    `text/html;a="b, ${image}, c"`,
    "application/vnd.oci.image.index.v1+json",
  ])("does not take an image manifest by Accept %j", (accept) => {
    expect(accepts(accept, image)).toBe(false);
  });
});

test("no more than a hundred entries of Accept are read, because a header of 16 KB has thousands", () => {
  expect(accepts(`${"a/b,".repeat(99)}${image}`, image)).toBe(true);
  expect(accepts(`${"a/b,".repeat(100)}${image}`, image)).toBe(false);
});

test("only a client that names all four types accepts any manifest", () => {
  const types = manifestTypes.split(", ");
  expect(acceptsAnyManifest(`${manifestTypes}, */*`)).toBe(true);
  for (const left of types) expect(acceptsAnyManifest(types.filter((type) => type !== left).join(","))).toBe(false);
});

test("a content type with parameters is of its media type, and another one is of none", () => {
  const types = [`${image}; charset=utf-8`, image, ` \t${image}\t ;a`, "application/json", null].map(manifestTypeOf);
  expect(types).toEqual([image, image, image, null, null]);
  for (const odd of ["\ufeff", "\u00a0", "\u0085", "\v", "\u2003"]) {
    expect([`${odd}${image}`, `${image}${odd}`, `${image}${odd};a`].map(manifestTypeOf)).toEqual([null, null, null]);
  }
});
