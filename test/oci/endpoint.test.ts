import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatEndpoint, type RegistryEndpoint } from "../../src/oci/endpoint.ts";
import { parseEndpoint } from "../../src/oci/parse-endpoint.ts";
import { registryEndpoint } from "../support/generators.ts";

const origin = "https://registry.test";
const parse = (method: string, target: string) => parseEndpoint(method, new URL(target, origin));
const sha256 = `sha256:${"ab".repeat(32)}`;

describe("parseEndpoint and formatEndpoint", () => {
  test("are inverses for every endpoint", () => {
    const seen: Record<RegistryEndpoint["kind"], number> = {
      base: 0,
      catalog: 0,
      "gitlab-base": 0,
      "gitlab-statistics": 0,
      blob: 0,
      manifest: 0,
      "upload-start": 0,
      upload: 0,
      tags: 0,
      referrers: 0,
      "gitlab-repository": 0,
      "gitlab-tags": 0,
      "gitlab-tag": 0,
      "gitlab-descendants": 0,
    };
    fc.assert(
      fc.property(registryEndpoint, (endpoint) => {
        seen[endpoint.kind] += 1;
        expect(parse(endpoint.method, formatEndpoint(endpoint))).toEqual({ ok: true, value: endpoint });
      }),
      { numRuns: 2000 },
    );
    expect(Object.values(seen).every((count) => count > 0)).toBe(true);
  });

  test("never throw, whatever the path and query", () => {
    fc.assert(
      fc.property(
        fc.constantFrom("GET", "POST", "PUT", "OPTIONS"),
        fc.webPath(),
        fc.webQueryParameters(),
        (method, path, query) => {
          for (const prefix of ["", "/v2", "/gitlab/v1"]) {
            parseEndpoint(method, new URL(`${origin}${prefix}${path}?${query}`));
          }
        },
      ),
    );
  });

  test("what is forwarded parses to what was asked, for any path that parses", () => {
    const word = fc.constantFrom("a", "manifests", "blobs", "uploads", "tags", "list", "", "%2F", "A", "1", sha256);
    const end = fc.constantFrom("manifests/1", `blobs/${sha256}`, "blobs/uploads/", "blobs/uploads/1", "tags/list", "");
    const path = fc.tuple(fc.array(word, { maxLength: 6 }), end).map(([words, last]) => [...words, last].join("/"));
    const seen = new Set<string>();
    let parsed = 0;
    fc.assert(
      fc.property(path, fc.constantFrom("GET", "PUT", "POST"), (text, method) => {
        const first = parse(method, `/v2/${text}`);
        if (!first.ok || first.value.kind === "token") return;
        parsed += 1;
        seen.add(first.value.kind);
        expect(parse(method, formatEndpoint(first.value))).toEqual(first);
      }),
      { numRuns: 4000 },
    );
    expect(parsed).toBeGreaterThan(200);
    expect([...seen].toSorted()).toEqual(["base", "blob", "manifest", "tags", "upload", "upload-start"]);
  });
});

describe("parseEndpoint reads", () => {
  test.each([
    ["GET", "/v2/", { kind: "base" }],
    ["GET", "/v2/a/manifests/b/manifests/latest", { kind: "manifest", name: "a/manifests/b", reference: "latest" }],
    ["GET", "/v2/a/blobs/uploads/manifests/latest", { kind: "manifest", name: "a/blobs/uploads", reference: "latest" }],
    ["GET", "/v2/a/blobs/uploads/tags/list", { kind: "tags", name: "a/blobs/uploads" }],
    ["POST", "/v2/a/blobs/uploads/blobs/uploads/", { kind: "upload-start", name: "a/blobs/uploads" }],
    ["GET", `/v2/a/blobs/uploads/blobs/${sha256}`, { kind: "blob", name: "a/blobs/uploads", digest: sha256 }],
    ["GET", `/v2/a/blobs/sha256%3A${"ab".repeat(32)}`, { kind: "blob", name: "a", digest: sha256 }],
    ["PATCH", "/v2/a/blobs/uploads/5b2?_state=x%2By%3D", { kind: "upload", upload: "5b2", query: "_state=x%2By%3D" }],
    ["GET", "/v2/a/blobs/foo:1", { kind: "blob", digest: "foo:1" }],
    // JavaScript's objects have a property of this name.
    ["GET", "/v2/a/blobs/constructor:1", { kind: "blob", digest: "constructor:1" }],
    // Registries answer this reference with 400, 404 or 500, so the edge lets the Pod decide.
    ["PUT", "/v2/a/manifests/sha256:baddigest", { kind: "manifest", reference: "sha256:baddigest" }],
    ["GET", "/v2/a/manifests/list", { kind: "manifest", reference: "list" }],
    ["GET", "/v2/a/tags/list?n=2&?last=b", { kind: "tags", n: "2", last: null, query: "?last=b" }],
    ["GET", "/v2/a/tags/list?n=2&last=b", { kind: "tags", n: "2", last: "b" }],
    ["GET", `/v2/a/../b/./manifests/1`, { kind: "manifest", name: "b" }],
    ["GET", `/v2/${"a/".repeat(19)}a/manifests/1`, { kind: "manifest", name: `${"a/".repeat(19)}a` }],
    ["GET", `/v2/${"a".repeat(255)}/manifests/1`, { kind: "manifest", name: "a".repeat(255) }],
    ["GET", "/gitlab/v1/repositories/a/b/tags/list/", { kind: "gitlab-tags", name: "a/b" }],
    [
      "PATCH",
      "/gitlab/v1/repositories/a/b/?dry_run=true",
      { kind: "gitlab-repository", name: "a/b", query: "dry_run=true" },
    ],
    ["GET", "/gitlab/v1/repository-paths/a/repositories/list/", { kind: "gitlab-descendants", name: "a" }],
    ["POST", "/jwt/auth", { kind: "token", method: "POST" }],
  ])("%s %s", (method, target, expected) => {
    expect(parse(method, target)).toMatchObject({ ok: true, value: expected });
  });

  test.each([
    [`?mount=${sha256}&from=a/b`, { digest: sha256, from: { kind: "name", name: "a/b" } }],
    [`?mount=${sha256}`, null],
    [`?mount=${sha256}&from=A//b`, { digest: sha256, from: { kind: "unusable" } }],
    ["", null],
  ])("a mount from %s", (query, mount) => {
    expect(parse("POST", `/v2/a/blobs/uploads/${query}`)).toMatchObject({ ok: true, value: { mount } });
  });
});

describe("parseEndpoint redirects a path with too many slashes to the path without them, as registries do", () => {
  test.each([
    ["//v2/", "/v2/"],
    ["/v2//", "/v2/"],
    ["/v2/_catalog/", "/v2/_catalog"],
    ["/v2/_catalog/?n=1&x=%2f", "/v2/_catalog?n=1&x=%2f"],
    ["/v2/a/b/tags/list/", "/v2/a/b/tags/list"],
    ["//v2/a/b/tags/list", "/v2/a/b/tags/list"],
    ["///v2/a/b/tags/list//", "/v2/a/b/tags/list"],
    ["/v2/a/b/manifests/1/", "/v2/a/b/manifests/1"],
    [`/v2/a/b/blobs/${sha256}/`, `/v2/a/b/blobs/${sha256}`],
    [`/v2/a/b/referrers/${sha256}/`, `/v2/a/b/referrers/${sha256}`],
    ["/v2/a/b/blobs/uploads//", "/v2/a/b/blobs/uploads/"],
    ["/v2/a/b/blobs/uploads/u-1/?_state=%3D", "/v2/a/b/blobs/uploads/u-1?_state=%3D"],
    ["//gitlab/v1/repositories/a/", "/gitlab/v1/repositories/a/"],
  ])("%s", (target, location) => {
    for (const method of ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]) {
      expect(parseEndpoint(method, new URL(origin + target))).toMatchObject({
        ok: false,
        error: { status: 301, headers: { Location: location } },
      });
    }
  });

  test.each([
    "/v2/a/",
    "/v2/A/tags/list/",
    "/v2/a//b/tags/list/",
    "/v2/a/manifests/.bad/",
    "//evil.test/",
    "//v3/",
    "//jwt/auth",
  ])("but it refuses %s, because the path without them is not an endpoint", (target) => {
    const parsed = parseEndpoint("GET", new URL(origin + target));
    expect(parsed).toMatchObject({ ok: false, error: { code: expect.any(String) } });
    expect(JSON.stringify(parsed)).not.toContain("Location");
  });
});

describe("parseEndpoint refuses", () => {
  test.each([
    ["GET", "/v2/a//b/manifests/1", 400, "NAME_INVALID"],
    ["GET", "/v2//manifests/1", 400, "NAME_INVALID"],
    ["GET", "/v2/a%2Fb/manifests/1", 400, "NAME_INVALID"],
    ["GET", "/v2/a%2fb/tags/list", 400, "NAME_INVALID"],
    ["GET", "/v2/A/b/manifests/1", 400, "NAME_INVALID"],
    ["GET", "/v2/%61/manifests/1", 400, "NAME_INVALID"],
    ["GET", `/v2/${"a".repeat(256)}/manifests/1`, 400, "NAME_INVALID"],
    ["GET", "/v2/a/manifests/.bad", 404, "MANIFEST_UNKNOWN"],
    ["GET", "/v2/a/manifests/sha256:x/y", 404, "UNSUPPORTED"],
    ["GET", "/v2/a/manifests/sha256:%00", 400, "DIGEST_INVALID"],
    ["GET", "/v2/a/manifests/:12", 400, "DIGEST_INVALID"],
    ["GET", "/v2/a/blobs/sha256:AB", 400, "DIGEST_INVALID"],
    ["GET", "/v2/a", 404, "UNSUPPORTED"],
    ["GET", "/v3/", 404, "UNSUPPORTED"],
    ["TRACE", "/v2/", 405, "UNSUPPORTED"],
    ["POST", "/v2/a/manifests/1", 405, "UNSUPPORTED"],
    ["POST", `/v2/a/blobs/uploads/?mount=${sha256}&mount=${sha256}`, 400, "QUERY_INVALID"],
    ["POST", `/v2/a/blobs/uploads/?mount=${sha256}&%6dount=x`, 400, "QUERY_INVALID"],
    ["PUT", `/v2/a/blobs/uploads/1?digest=${sha256}&digest=${sha256}`, 400, "QUERY_INVALID"],
    ["GET", "/v2/a/tags/list?n=1&n=2", 400, "QUERY_INVALID"],
    // Go before 1.17 takes `;` for `&` in a query, and would find a mount in the next two requests.
    ["POST", `/v2/a/blobs/uploads/?x=1;mount=${sha256};from=b`, 400, "QUERY_INVALID"],
    ["POST", `/v2/a/blobs/uploads/?mount=${sha256}&from=a&x=1;from=b`, 400, "QUERY_INVALID"],
    ["GET", "/v2/a/manifests/1?x=1;y=2", 400, "QUERY_INVALID"],
    ["GET", "/v2/a/blobs/uploads/%2e%2e%2fx", 404, "BLOB_UPLOAD_UNKNOWN"],
    ["GET", "/gitlab/v1/repositories/A/", 400, "NAME_INVALID"],
    ["GET", "/gitlab/v1/else/", 404, "UNSUPPORTED"],
  ])("%s %s", async (method, target, status, code) => {
    const { errorResponse } = await import("../../src/oci/errors.ts");
    const parsed = parse(method, target);
    if (parsed.ok) expect.fail(`parsed as ${JSON.stringify(parsed.value)}`);
    expect([errorResponse(parsed.error).status, parsed.error.code]).toEqual([status, code]);
  });

  test.each([
    ["GET", "/v2/", "&", 100],
    ["GET", "/v2/a/manifests/1", "a&", 100],
    ["PATCH", "/v2/a/blobs/uploads/1", "%61=&", 100],
    ["POST", "/v2/a/blobs/uploads/", "x=1&", 100],
    ["GET", "/v2/a/tags/list", "%&", 100],
    ["GET", "/jwt/auth", "scope=repository:a:pull&", 300],
  ])("%s %s with %j more often than %d times", (method, path, piece, most) => {
    expect(parse(method, `${path}?${piece.repeat(most - 1)}`)).toMatchObject({ ok: true });
    expect(parse(method, `${path}?${piece.repeat(most)}`)).toMatchObject({
      ok: false,
      error: { code: "QUERY_INVALID", message: `query has more than ${most} parameters; send fewer` },
    });
  });

  test("a wrong method with a 405 that names the right ones", () => {
    expect(parse("POST", "/v2/a/tags/list")).toMatchObject({ ok: false, error: { headers: { Allow: "GET" } } });
  });
});
