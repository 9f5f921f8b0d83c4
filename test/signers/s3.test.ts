import { GetObjectCommand, HeadObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { AwsClient } from "aws4fetch";
import { describe, expect, test } from "vitest";
import { encodePath } from "../../src/signers/encode.ts";
import { canonicalRequest, presign, scopedHmac } from "../../src/signers/sigv4.ts";
import { objectKeys } from "./object-keys.ts";
import { sign, window } from "./sign.ts";

const secret = { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" };
const session = { ...secret, sessionToken: "IQoJb3JpZ2luX2VjEA//+token==" };
const config = { endpoint: "https://s3.test", region: "auto", bucket: "pod-a" };
const signatureOf = (url: string) => new URL(url).searchParams.get("X-Amz-Signature");

test("equals the vector of AWS's guide, 'Authenticating Requests: Using Query Parameters'", async () => {
  const url = await sign("s3", {
    key: "test.txt",
    config: {
      endpoint: "https://s3.amazonaws.com",
      bucket: "examplebucket",
      addressing: "virtual-host",
      region: "us-east-1",
    },
    secret,
    window: { issuedAt: new Date("2013-05-24T00:00:00Z"), expiresAt: new Date("2013-05-25T00:00:00Z") },
  });
  expect(signatureOf(url)).toBe("aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
});

describe.each([
  ["a key", secret],
  ["a session's key", session],
])("with %s", (_, credentials) => {
  test.each([
    ["https://s3.test", "GET"],
    ["http://localhost:9000", "HEAD"],
  ] as const)("equals aws4fetch at %s for %s", async (endpoint, method) => {
    const oracle = new AwsClient({ ...credentials, service: "s3", region: "auto" });
    for (const key of objectKeys) {
      const ours = await sign("s3", { key, method, config: { ...config, endpoint }, secret: credentials });
      const unsigned = `${endpoint}${encodePath(`/pod-a/${key}`)}?X-Amz-Expires=1200`;
      const theirs = await oracle.sign(unsigned, { method, aws: { signQuery: true, datetime: "20661123T100000Z" } });
      expect(signatureOf(ours), key).toBe(signatureOf(theirs.url));
    }
  });

  /** AWS's own client says more in a URL than is wanted here: its parameters are signed as it chose them. */
  test.each(["path", "virtual-host"] as const)(
    "equals AWS's SDK, which names the same place, by %s",
    async (addressing) => {
      const client = new S3Client({
        region: "eu-central-1",
        endpoint: "https://s3.eu-central-1.amazonaws.com",
        credentials,
        forcePathStyle: addressing === "path",
      });
      const place = {
        endpoint: "https://s3.eu-central-1.amazonaws.com",
        bucket: "pod-a",
        region: "eu-central-1",
        addressing,
      };
      for (const [index, key] of objectKeys.entries()) {
        const method = index % 2 === 0 ? "GET" : "HEAD";
        const command = new (method === "GET" ? GetObjectCommand : HeadObjectCommand)({ Bucket: "pod-a", Key: key });
        const options = { expiresIn: 1200, signingDate: window.issuedAt };
        const theirs = new URL(await getSignedUrl(client, command as GetObjectCommand, options));
        const ours = new URL(await sign("s3", { key, method, config: place, secret: credentials }));
        expect([ours.origin, ours.pathname]).toEqual([theirs.origin, theirs.pathname]);
        const theirOwn = [...theirs.searchParams].filter(
          ([name]) => name !== "X-Amz-Signature" && (name === "X-Amz-Security-Token" || !ours.searchParams.has(name)),
        );
        const request = {
          method,
          origin: theirs.origin,
          path: theirs.pathname,
          host: theirs.host,
          vendor: "X-Amz",
          algorithm: "AWS4-HMAC-SHA256",
          accessKeyId: credentials.accessKeyId,
          service: "eu-central-1/s3/aws4_request",
          window,
          parameters: theirOwn,
        };
        const hmac = scopedHmac({
          start: `AWS4${credentials.secretAccessKey}`,
          secret: credentials,
          dayKeys: new WeakMap(),
        });
        const asTheirs = await presign(request, canonicalRequest(request), hmac);
        expect(signatureOf(asTheirs), key).toBe(signatureOf(theirs.href));
      }
    },
  );
});

test("says for whom in parameters that S3 passes over, and signs them", async () => {
  const attribution = [["repository", "acme/app"]] as const;
  const url = new URL(await sign("s3", { config, secret, attribution }));
  expect(url.searchParams.get("x-repository")).toBe("acme/app");
  const oracle = new AwsClient({ ...secret, service: "s3", region: "auto" });
  const unsigned = "https://s3.test/pod-a/a/b?X-Amz-Expires=1200&x-repository=acme%2Fapp";
  const theirs = await oracle.sign(unsigned, { aws: { signQuery: true, datetime: "20661123T100000Z" } });
  expect(signatureOf(url.href)).toBe(signatureOf(theirs.url));
});

test.each([
  ["https://s3.dualstack.eu-central-1.amazonaws.com", { useDualstackEndpoint: true }],
  ["https://s3-fips.us-east-1.amazonaws.com", { useFipsEndpoint: true, region: "us-east-1" }],
  ["https://s3-accelerate.amazonaws.com", { useAccelerateEndpoint: true }],
])("a bucket's host below %s is AWS's own", async (endpoint, options) => {
  const client = new S3Client({ region: "eu-central-1", credentials: secret, ...options });
  const theirs = new URL(await getSignedUrl(client, new GetObjectCommand({ Bucket: "pod-a", Key: "a/b" })));
  const ours = await sign("s3", { config: { ...config, endpoint, addressing: "virtual-host" }, secret });
  expect([new URL(ours).origin, new URL(ours).pathname]).toEqual([theirs.origin, theirs.pathname]);
});

test.each([
  ["path", "https://s3.test/pod-a/a/b"],
  ["virtual-host", "https://pod-a.s3.test/a/b"],
  ["bound-host", "https://s3.test/a/b"],
])("addresses by %s: %s", async (addressing, url) => {
  expect((await sign("s3", { config: { ...config, addressing }, secret })).split("?")[0]).toBe(url);
});
