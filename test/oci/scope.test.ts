import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseEndpoint } from "../../src/oci/parse-endpoint.ts";
import {
  accessList,
  covers,
  formatScope,
  parseScope,
  parseScopes,
  requiredAccess,
  writes,
} from "../../src/oci/scope.ts";
import { repositoryName } from "../support/generators.ts";

const pull = { type: "repository", name: "a/b", actions: ["pull"] };

describe("scopes", () => {
  test("a scope that is formatted parses to itself", () => {
    const access = fc.record({
      type: fc.constantFrom("repository", "repository(plugin)", "registry"),
      name: fc.oneof(
        repositoryName,
        repositoryName.map((name) => `host:5000/${name}`),
      ),
      actions: fc.uniqueArray(fc.constantFrom("pull", "push", "delete", "*"), { minLength: 1 }),
    });
    fc.assert(
      fc.property(access, (value) => {
        expect(parseScope(formatScope(value))).toEqual(value);
      }),
    );
  });

  test.each([
    ["space-joined", ["repository:a/b:pull repository:c:push,pull"], 2],
    ["repeated", ["repository:a/b:pull", "repository:c:pull"], 2],
    ["both, with stray spaces", [" repository:a/b:pull  repository:c:pull", "registry:catalog:*"], 3],
    ["without actions", ["repository:a/b", "repository:a/b:"], 0],
    ["empty", ["", " "], 0],
    [
      "with 20 and with 21 actions",
      [20, 21].map((count) => `repository:a:${Array.from({ length: count }, (_, index) => index).join()}`),
      1,
    ],
  ])("parseScopes finds each scope of values: %s", (_, values, count) => {
    expect(parseScopes(values)).toHaveLength(count);
  });

  test("equal scopes of a request count once, and so do equal actions of a scope", () => {
    const values = ["repository:a/b:pull,pull,", "repository:a/b:pull repository:a/b:pull", "repository:a/b:push"];
    expect(parseScopes(values)).toEqual([pull, { ...pull, actions: ["push"] }]);
  });

  test.each([
    [["pull"], false],
    [["pull", "push"], true],
    [["delete"], true],
    [["*"], true],
  ])("a scope of the actions %j may change something: %s", (actions, expected) =>
    expect(writes({ ...pull, actions })).toBe(expected),
  );

  test.each([
    [[pull], true],
    [[{ ...pull, actions: ["*"] }], true],
    [[{ ...pull, actions: ["push"] }], false],
    [[{ ...pull, name: "a/*" }], false],
    [[{ ...pull, name: "a" }], false],
    [[{ ...pull, type: "registry" }], false],
    [[], false],
  ])("a grant of %j covers pull on a/b: %s", (granted, expected) => expect(covers(granted, pull)).toBe(expected));
});

describe("requiredAccess knows what a token must grant for", () => {
  const sha256 = `sha256:${"ab".repeat(32)}`;
  test.each([
    ["GET", "/v2/", null, []],
    ["GET", "/gitlab/v1/", null, []],
    ["GET", "/gitlab/v1/statistics/", "registry:statistics:*", []],
    ["GET", "/v2/_catalog", "registry:catalog:*", []],
    ["HEAD", `/v2/a/b/blobs/${sha256}`, "repository:a/b:pull", []],
    ["PUT", "/v2/a/b/manifests/1", "repository:a/b:pull,push", []],
    ["DELETE", "/v2/a/b/manifests/1", "repository:a/b:delete", []],
    ["DELETE", "/v2/a/b/blobs/uploads/1", "repository:a/b:delete", []],
    ["POST", `/v2/a/b/blobs/uploads/?mount=${sha256}&from=c`, "repository:a/b:pull,push", ["repository:c:pull"]],
    ["POST", `/v2/a/b/blobs/uploads/?mount=${sha256}&from=a/b`, "repository:a/b:pull,push", []],
    ["PATCH", "/gitlab/v1/repositories/a/", "repository:a:pull,push", ["repository:a/*:pull"]],
    ["GET", "/gitlab/v1/repository-paths/a/repositories/list/", "repository:a:pull", ["repository:a/*:pull"]],
  ])("%s %s", (method, target, wanted, wantedAlso) => {
    const parsed = parseEndpoint(method, new URL(target, "https://registry.test"));
    if (!parsed.ok) expect.fail(parsed.error.message);
    const required = requiredAccess(parsed.value);
    expect(required.own === null ? null : formatScope(required.own)).toBe(wanted);
    expect(required.also.map(formatScope)).toEqual(wantedAlso);
    expect(accessList(required).map(formatScope)).toEqual([...(wanted === null ? [] : [wanted]), ...wantedAlso]);
  });
});
