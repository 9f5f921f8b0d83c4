import { expect, test } from "vitest";
import type { Pod } from "../../src/directory/directory.ts";
import { parseEndpoint } from "../../src/oci/parse-endpoint.ts";
import { podRequest } from "../../src/pods/request.ts";

const pod = { registry: "https://registry.pod-a.test" } as Pod;
const digest = `sha256:${"d".repeat(64)}`;

test.each([
  ["GET", "manifests/1", 10_000],
  ["HEAD", `blobs/${digest}`, 10_000],
  ["GET", "blobs/uploads/u-1", 10_000],
  ["POST", "blobs/uploads/", 10_000],
  ["POST", `blobs/uploads/?mount=${digest}&from=acme/other`, 10_000],
  ["PUT", "manifests/1", 60_000],
  ["DELETE", `manifests/${digest}`, 60_000],
  ["DELETE", `blobs/${digest}`, 60_000],
  ["DELETE", "blobs/uploads/u-1", 60_000],
  ["POST", `blobs/uploads/?digest=${digest}`, 300_000],
  ["PATCH", "blobs/uploads/u-1", 300_000],
  ["PUT", `blobs/uploads/u-1?digest=${digest}`, 300_000],
])("the request %s %s to a Pod has the deadline of its kind", (method, path, expected) => {
  const url = `https://edge.test/v2/acme/app/${path}`;
  const parsed = parseEndpoint(method, new URL(url));
  if (!parsed.ok || parsed.value.kind === "token") expect.fail("no endpoint of a registry");
  expect(podRequest(pod, parsed.value, { jwt: null, request: new Request(url, { method }) }).deadlineMs).toBe(expected);
});
