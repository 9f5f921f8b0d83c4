import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatChallenge, parseChallenge } from "../../src/oci/challenge.ts";
import { parseDigest } from "../../src/oci/digest.ts";
import { parseTag } from "../../src/oci/reference.ts";
import { parsePrefix, parseRepositoryName, prefixesOf } from "../../src/oci/repository-name.ts";
import { repositoryName } from "../support/generators.ts";

describe("repository names", () => {
  test("every name of the grammar parses to itself", () => {
    fc.assert(
      fc.property(repositoryName, (name) => {
        expect(parseRepositoryName(name)).toEqual({ ok: true, value: name });
      }),
    );
  });

  test.each([
    "",
    "A",
    "a/",
    "/a",
    "a//b",
    "a..b",
    "a__",
    "-a",
    "a.-b",
    "a___b",
    "a b",
    "a\n",
    "é",
    "a%2Fb",
    "a".repeat(256),
  ])("%j is refused", (text) => expect(parseRepositoryName(text).ok).toBe(false));

  test.each(["a", "a.b", "a_b", "a__b", "a---b", "a/b", "0", "a/blobs/uploads"])("%j is legal", (text) =>
    expect(parseRepositoryName(text).ok).toBe(true),
  );

  test("prefixes end on component boundaries, longest first, and are at most 20 components", () => {
    const parsed = parseRepositoryName("acme/team/app");
    expect(parsed.ok && prefixesOf(parsed.value)).toEqual(["acme/team/app", "acme/team", "acme"]);
    const deep = parseRepositoryName(Array(25).fill("a").join("/"));
    expect(deep.ok && prefixesOf(deep.value).length).toBe(20);
    expect(parsePrefix(Array(20).fill("a").join("/")).ok).toBe(true);
    expect(parsePrefix(Array(21).fill("a").join("/")).ok).toBe(false);
  });
});

test.each([
  [`sha256:${"a".repeat(64)}`, true],
  [`sha512:${"a".repeat(128)}`, true],
  ["blake3:abc", true],
  [`sha256:${"A".repeat(64)}`, false],
  [`sha256:${"a".repeat(63)}`, false],
  ["sha256:", false],
  ["latest", false],
])("parseDigest takes %j: %s", (text, expected) => expect(parseDigest(text).ok).toBe(expected));

test.each([
  ["v1.0", true],
  ["_x", true],
  ["a".repeat(128), true],
  ["a".repeat(129), false],
  [".a", false],
  ["-a", false],
  ["a b", false],
])("parseTag takes %j: %s", (text, expected) => expect(parseTag(text).ok).toBe(expected));

describe("challenge", () => {
  const access = [{ type: "repository", name: "a/b", actions: ["pull"] }];
  test("a challenge is one line in the order that registries use", () => {
    expect(formatChallenge({ realm: "https://r/jwt/auth", service: "s", access, error: "invalid_token" })).toBe(
      'Bearer realm="https://r/jwt/auth",service="s",scope="repository:a/b:pull",error="invalid_token"',
    );
    expect(formatChallenge({ realm: "r", service: "s", access: [], error: null })).toBe('Bearer realm="r",service="s"');
  });

  test.each([
    [
      'Bearer realm="r",service="s",scope="repository:a/b:pull",error="insufficient_scope"',
      { realm: "r", service: "s", access, error: "insufficient_scope" },
    ],
    ['bearer realm="r", service="s", scope="repository:a/b:pull"', { realm: "r", service: "s", access, error: null }],
    ['Bearer realm="r",error="made up"', { realm: "r", service: "", access: [], error: null }],
    ['Basic realm="r"', null],
    [null, null],
    [
      'Basic realm="r", Bearer realm="b",error="invalid_token"',
      { realm: "b", service: "", access: [], error: "invalid_token" },
    ],
    [
      'Bearer realm="b",error="invalid_token", Basic realm="r",service="x"',
      { realm: "b", service: "", access: [], error: "invalid_token" },
    ],
    [
      "Basic abc==, Bearer realm=b , error=invalid_token",
      { realm: "b", service: "", access: [], error: "invalid_token" },
    ],
    ['Negotiate, Bearer realm="b"', { realm: "b", service: "", access: [], error: null }],
    ['Basic realm="x, Bearer realm=\\"y\\""', null],
    [
      'Bearer realm="first", Bearer realm="second",error="invalid_token"',
      { realm: "first", service: "", access: [], error: null },
    ],
    ['Bearer realm="b', { realm: "", service: "", access: [], error: null }],
    ["Bearer", { realm: "", service: "", access: [], error: null }],
  ])("parseChallenge reads %j", (header, expected) => expect(parseChallenge(header)).toEqual(expected));

  test("a challenge of more than 8,192 characters is not read", () => {
    expect(parseChallenge(`Bearer realm="${"x".repeat(8192)}"`)).toBeNull();
  });
});
