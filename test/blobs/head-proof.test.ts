import { describe, expect, test } from "vitest";
import { provesBlob, redirectTarget } from "../../src/blobs/head-proof.ts";
import type { Pod } from "../../src/directory/directory.ts";
import { parseDigest } from "../../src/oci/digest.ts";

const hosts = ["cdn.example.net", "storage.example.net:9000", "registry.pod-a.test"];
const stores = [
  { scheme: "pod" },
  { scheme: "s3", endpoint: "https://s3.test:9000", bucket: "blobs", addressing: "virtual-host" },
  { scheme: "public", baseUrl: "https://public.test" },
];
const podAt = (registry: string) => ({ registry, blobs: { hosts, stores } }) as unknown as Pod;
const secure = podAt("https://registry.pod-a.test");
const plain = podAt("http://registry.pod-a.test");
const digest = parseDigest(`sha256:${"d".repeat(64)}`);
if (!digest.ok) throw new Error("the test's own digest");
const path = `/blobs/${"d".repeat(64)}?sig=1`;

describe("Pod's own redirect of a blob", () => {
  test.each([
    ["by https", secure, `https://cdn.example.net${path}`, `https://cdn.example.net${path}`],
    ["to a port of the record", secure, `https://storage.example.net:9000${path}`, "https://storage.example.net:9000"],
    ["to a store's bucket", secure, `https://blobs.s3.test:9000${path}`, `https://blobs.s3.test:9000${path}`],
    ["to another store", secure, `https://public.test${path}`, `https://public.test${path}`],
    ["by path only", secure, path, `https://registry.pod-a.test${path}`],
    ["without a scheme", secure, `//cdn.example.net${path}`, `https://cdn.example.net${path}`],
    ["by http from a Pod by http", plain, `http://cdn.example.net${path}`, `http://cdn.example.net${path}`],
    ["by https from a Pod by http", plain, `https://cdn.example.net${path}`, `https://cdn.example.net${path}`],
  ])("a redirect %s is passed on", (_, pod, location, target) => {
    expect(redirectTarget(location, pod)?.href).toContain(target);
  });

  test.each([
    ["by http from a Pod by https", secure, `http://cdn.example.net${path}`],
    ["by another scheme", plain, `ftp://cdn.example.net${path}`],
    ["to a host that is not listed", secure, `https://elsewhere.example.net${path}`],
    ["to another port", secure, `https://cdn.example.net:8443${path}`],
    ["to another form of a store's host", secure, `https://s3.test:9000/blobs${path}`],
    ["to a store by http from a Pod by https", secure, `http://public.test${path}`],
    ["to a malformed URL", secure, "https://["],
    ["to nothing", secure, null],
  ])("a redirect %s is refused", (_, pod, location) => expect(redirectTarget(location, pod)).toBeNull());

  test("its host and digest prove a blob by http too, because the edge then signs a URL of its own", () => {
    const answer = new Response(null, { status: 307, headers: { Location: `http://cdn.example.net${path}` } });
    expect(provesBlob(answer, digest.value, secure)).toBe(true);
  });
});
