import { expect, test } from "vitest";
import type { Pod } from "../../src/directory/directory.ts";
import { parseEndpoint } from "../../src/oci/parse-endpoint.ts";
import { podRequest } from "../../src/pods/request.ts";

const pod = { registry: "https://registry.pod-a.test" } as Pod;
const digest = `sha256:${"d".repeat(64)}`;

test.each([
  ["HEAD", `/v2/acme/app/blobs/${digest}`, 10_000],
  ["GET", "/v2/acme/app/blobs/uploads/u-1", 10_000],
  ["GET", "/v2/", 10_000],
  ["GET", "/v2/acme/app/manifests/1", 25_000],
  ["HEAD", "/v2/acme/app/manifests/1", 25_000],
  ["GET", "/v2/acme/app/tags/list", 120_000],
  ["GET", "/v2/_catalog", 120_000],
  ["GET", `/v2/acme/app/referrers/${digest}`, 120_000],
  ["GET", "/gitlab/v1/repositories/acme/app/tags/list/", 120_000],
  ["GET", "/gitlab/v1/repositories/acme/app/", 120_000],
  ["GET", "/gitlab/v1/repository-paths/acme/repositories/list/", 120_000],
  ["PATCH", "/gitlab/v1/repositories/acme/app/", 300_000],
  ["POST", "/v2/acme/app/blobs/uploads/", 300_000],
  ["POST", `/v2/acme/app/blobs/uploads/?mount=${digest}&from=acme/other`, 300_000],
  ["POST", `/v2/acme/app/blobs/uploads/?digest=${digest}`, 300_000],
  ["PUT", "/v2/acme/app/manifests/1", 300_000],
  ["DELETE", `/v2/acme/app/manifests/${digest}`, 300_000],
  ["DELETE", `/v2/acme/app/blobs/${digest}`, 300_000],
  ["DELETE", "/v2/acme/app/blobs/uploads/u-1", 300_000],
  ["PATCH", "/v2/acme/app/blobs/uploads/u-1", 300_000],
  ["PUT", `/v2/acme/app/blobs/uploads/u-1?digest=${digest}`, 300_000],
])("the request %s %s to a Pod has the deadline of its kind", (method, path, expected) => {
  const url = `https://edge.test${path}`;
  const parsed = parseEndpoint(method, new URL(url));
  if (!parsed.ok || parsed.value.kind === "token") expect.fail("no endpoint of a registry");
  expect(podRequest(pod, parsed.value, { jwt: null, request: new Request(url, { method }) }).deadlineMs).toBe(expected);
});

test.each([
  ["application/x-www-form-urlencoded", "application/octet-stream"],
  [" Application/X-WWW-Form-URLencoded; charset=utf-8", "application/octet-stream"],
  ["multipart/form-data; boundary=b", "application/octet-stream"],
  ["\u00c2\u0085application/x-www-form-urlencoded", "application/octet-stream"],
  ["appl\u00c4\u00b0cation/x-www-form-urlencoded", "application/octet-stream"],
  ["\u000bmultipart/form-data; boundary=b", "application/octet-stream"],
  ["text/plain; charset=utf-8", "text/plain; charset=utf-8"],
  ["application/octet-stream", "application/octet-stream"],
  ["application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.manifest.v1+json"],
])(
  "a body of type %j is not sent to a Pod as a form, in which it could read other parameters than the edge",
  (type, sent) => {
    const url = "https://edge.test/v2/acme/app/blobs/uploads/";
    const parsed = parseEndpoint("POST", new URL(url));
    if (!parsed.ok || parsed.value.kind === "token") expect.fail("no endpoint of a registry");
    const request = new Request(url, {
      method: "POST",
      body: "mount=x&from=acme/b",
      headers: { "Content-Type": type },
    });
    expect(podRequest(pod, parsed.value, { jwt: null, request }).headers.get("Content-Type")).toBe(sent);
  },
);

/** Returns the second deadline, which depends on the length of the body. Null if the request has none. */
const shorterMs = (method: string, path: string, sentBytes: number): number | null => {
  const url = `https://edge.test${path}`;
  const parsed = parseEndpoint(method, new URL(url));
  if (!parsed.ok || parsed.value.kind === "token") expect.fail("no endpoint of a registry");
  return (
    podRequest(pod, parsed.value, { jwt: null, request: new Request(url, { method }) }).shorterMs?.(sentBytes) ?? null
  );
};
const megabytes = 1_000_000;
const upload = "/v2/acme/app/blobs/uploads/u-1";

test.each([
  ["POST", "/v2/acme/app/blobs/uploads/", 0, 12_000],
  ["POST", `/v2/acme/app/blobs/uploads/?digest=${digest}`, 100 * megabytes, 17_000],
  ["POST", `/v2/acme/app/blobs/uploads/?mount=${digest}&from=acme/b`, 0, null],
  ["PATCH", upload, 0, 12_000],
  ["PATCH", `${upload}?_pod_bytes=1000000000`, 1_000 * megabytes, 62_000],
  ["PUT", `${upload}?digest=${digest}&_pod_bytes=1000000`, 0, 12_050],
  ["PUT", `${upload}?digest=${digest}&_pod_bytes=1000000000`, 1_000 * megabytes, 112_000],
  ["PUT", `${upload}?digest=${digest}`, 0, null],
  ["PUT", `${upload}?digest=${digest}&_pod_bytes=many`, 0, null],
  ["PUT", `${upload}?digest=${digest}&_pod_bytes=1&_pod_bytes=1`, 0, null],
  ["PUT", "/v2/acme/app/manifests/1", 1_000, null],
  ["DELETE", `/v2/acme/app/manifests/${digest}`, 0, null],
  ["DELETE", upload, 0, null],
  ["GET", upload, 0, null],
])(
  "the request %s %s with a body of %i bytes has a deadline that is shorter than every write's: %j ms",
  (method, path, sentBytes, expected) => {
    expect(shorterMs(method, path, sentBytes)).toBe(expected);
  },
);

test("a Pod does not get the size that the edge keeps in a push location", () => {
  const url = `https://edge.test${upload}?_state=a&_pod_bytes=5&digest=${digest}`;
  const parsed = parseEndpoint("PUT", new URL(url));
  if (!parsed.ok || parsed.value.kind === "token") expect.fail("no endpoint of a registry");
  const sent = podRequest(pod, parsed.value, { jwt: null, request: new Request(url, { method: "PUT" }) });
  expect(sent.url).toBe(`${pod.registry}${upload}?_state=a&digest=${digest}`);
});
