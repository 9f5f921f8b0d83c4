import { AwsClient } from "aws4fetch";
import { describe, expect, test } from "vitest";
import { canonicalText, signature } from "../../../src/local/toy/sigv4.ts";
import { credentials, startToyStorage, storageNow } from "../../support/toy-pod.ts";

test("toy SigV4 gives the signature of AWS's published example (S3 API reference, query parameters)", () => {
  const example = {
    region: "us-east-1",
    accessKeyId: "AKIAIOSFODNN7EXAMPLE",
    secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
  };
  const request = {
    method: "GET",
    path: "/test.txt",
    query: [
      ["X-Amz-Algorithm", "AWS4-HMAC-SHA256"],
      ["X-Amz-Credential", "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"],
      ["X-Amz-Date", "20130524T000000Z"],
      ["X-Amz-Expires", "86400"],
      ["X-Amz-SignedHeaders", "host"],
    ],
    signedHeaders: [["host", "examplebucket.s3.amazonaws.com"]],
  } as const;
  expect(canonicalText(request)).toContain("X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1");
  expect(signature(example, "20130524T000000Z", request)).toBe(
    "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
  );
});

describe("toy storage: signatures", () => {
  // aws4fetch is not our code, so these tests find mistakes that our signing and our checking share.
  test.each(["/pod-a/plain", "/pod-a/sha256:ab", "/pod-a/sp ace/ü", "/pod-a/a+b'()*~&=@,;$"])(
    "the signature of aws4fetch for %s is accepted",
    async (path) => {
      const { endpoint, put } = await startToyStorage();
      await put(path, "hello");
      const client = new AwsClient({ ...credentials, service: "s3" });
      const url = `${endpoint}${path.split("/").map(encodeURIComponent).join("/")}?X-Amz-Expires=60&response-cache-control=a%2Bb`;
      const datetime = "20260301T120000Z";
      for (const method of ["GET", "HEAD"]) {
        const signed = await client.sign(url, { method, aws: { signQuery: true, datetime } });
        expect((await fetch(signed.url, { method })).status).toBe(200);
      }
    },
  );

  test.each<[string, number, (url: string) => string, RequestInit]>([
    ["nothing changed", 200, (url) => url, {}],
    ["another method", 403, (url) => url, { method: "HEAD" }],
    ["DELETE as method", 403, (url) => url, { method: "DELETE" }],
    ["another host name", 403, (url) => url.replace("localhost", "127.0.0.1"), {}],
    ["another key", 403, (url) => url.replace("/pod-a/a", "/pod-a/b"), {}],
    ["one more parameter", 403, (url) => `${url}&x=1`, {}],
    ["a longer life", 403, (url) => url.replace("Expires=60", "Expires=61"), {}],
    ["another date", 403, (url) => url.replace("T120000Z", "T120001Z"), {}],
    ["a shorter signature", 403, (url) => url.slice(0, -1), {}],
    ["a changed signature", 403, (url) => `${url.slice(0, -1)}${url.endsWith("0") ? "1" : "0"}`, {}],
    ["a repeated signature", 403, (url) => `${url}&X-Amz-Signature=00`, {}],
    ["another access key", 403, (url) => url.replace("AKIDTOYPOD", "AKIDOTHER"), {}],
    ["another region", 403, (url) => url.replace("us-east-1", "us-east-2"), {}],
    ["another service", 403, (url) => url.replace("%2Fs3%2F", "%2Fiam%2F"), {}],
    ["no signature", 403, (url) => url.replace(/&X-Amz-Signature=.*/, ""), {}],
    ["no query", 403, (url) => url.replace(/\?.*/, ""), {}],
    ["a token instead of the query", 403, (url) => url.replace(/\?.*/, ""), { headers: { Authorization: "Bearer x" } }],
    ["a token as well", 400, (url) => url, { headers: { Authorization: "Bearer x" } }],
    ["an unsigned x-amz header", 403, (url) => url, { headers: { "x-amz-acl": "public-read" } }],
    ["malformed escapes", 403, (url) => `${url}&%zz`, {}],
  ])("a URL with %s is answered %i", async (_case, status, change, init) => {
    const { sign, put } = await startToyStorage();
    await put("/pod-a/a", "hello");
    await put("/pod-a/b", "other");
    const got = await fetch(change(sign("GET", "/pod-a/a")), init);
    expect(got.status).toBe(status);
    if (status === 403 && init.method !== "HEAD") expect(await got.text()).toContain("<Error><Code>");
  });

  test.each([
    ["just signed", 0, 60, 200],
    ["in its last second", 60, 60, 200],
    ["expired", 61, 60, 403],
    ["good for a week", 604_800, 604_800, 200],
    ["good for more than a week", 0, 604_801, 403],
    ["good for no time", 0, 0, 403],
    ["signed by a clock 15 minutes ahead", -900, 60, 200],
    ["signed by a clock further ahead", -901, 60, 403],
  ])("a URL that is %s", async (_case, ageSeconds, expiresSeconds, status) => {
    const { sign, put } = await startToyStorage();
    await put("/pod-a/a", "hello");
    const at = new Date(storageNow.getTime() - ageSeconds * 1000);
    expect((await fetch(sign("GET", "/pod-a/a", at, expiresSeconds))).status).toBe(status);
  });
});
