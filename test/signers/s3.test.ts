import { AwsClient } from "aws4fetch";
import { describe, expect, test } from "vitest";
import { encodePath } from "../../src/signers/encode.ts";
import { parseSecret } from "../../src/signers/index.ts";
import { objectKeys } from "./object-keys.ts";
import { s3Hosts } from "./oracle-stores.ts";
import { sign } from "./sign.ts";

const secret = { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" };
const session = { ...secret, sessionToken: "IQoJb3JpZ2luX2VjEA//+token==", expiresAt: "2066-11-24T00:00:00Z" };
const config = { endpoint: "https://s3.test", region: "auto", bucket: "pod-a" };
const signatureOf = (url: string) => new URL(url).searchParams.get("X-Amz-Signature");

test("the s3 signer makes the signature in AWS's guide, 'Authenticating Requests: Using Query Parameters'", async () => {
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
])("the s3 signer with %s", (_, credentials) => {
  test.each([
    ["https://s3.test", "GET"],
    ["http://localhost:9000", "HEAD"],
  ] as const)("signs as aws4fetch does at %s for %s", async (endpoint, method) => {
    const oracle = new AwsClient({ ...credentials, service: "s3", region: "auto" });
    for (const key of objectKeys) {
      const ours = await sign("s3", { key, method, config: { ...config, endpoint }, secret: credentials });
      const unsigned = `${endpoint}${encodePath(`/pod-a/${key}`)}?X-Amz-Expires=1200`;
      const theirs = await oracle.sign(unsigned, { method, aws: { signQuery: true, datetime: "20661123T100000Z" } });
      expect(signatureOf(ours), key).toBe(signatureOf(theirs.url));
    }
  });
});

test.each(["s3", "s3-v4a"] as const)(
  "the %s signer refuses a session without an end, because each session ends",
  async (scheme) => {
    const { expiresAt, ...endless } = session;
    expect((await parseSecret(scheme, JSON.stringify(session))).ok).toBe(true);
    const named = { ok: false, error: expect.stringContaining("expiresAt") };
    expect(await parseSecret(scheme, JSON.stringify(endless))).toMatchObject(named);
    expect(await parseSecret(scheme, JSON.stringify({ ...endless, expiration: expiresAt }))).toMatchObject(named);
  },
);

test("the s3 signer puts attribution into parameters that S3 ignores, and signs them", async () => {
  const attribution = [["repository", "acme/app"]] as const;
  const url = new URL(await sign("s3", { config, secret, attribution }));
  expect(url.searchParams.get("x-repository")).toBe("acme/app");
  const oracle = new AwsClient({ ...secret, service: "s3", region: "auto" });
  const unsigned = "https://s3.test/pod-a/a/b?X-Amz-Expires=1200&x-repository=acme%2Fapp";
  const theirs = await oracle.sign(unsigned, { aws: { signQuery: true, datetime: "20661123T100000Z" } });
  expect(signatureOf(url.href)).toBe(signatureOf(theirs.url));
});

test.each(s3Hosts)("the s3 signer uses the same host as AWS's SDK for a bucket at %s", async (endpoint, own) => {
  const ours = await sign("s3", { config: { ...config, endpoint, addressing: "virtual-host" }, secret });
  expect(ours.split("?")[0]).toBe(own.url);
});

test.each([
  ["path", "https://s3.test/pod-a/a/b"],
  ["virtual-host", "https://pod-a.s3.test/a/b"],
  ["bound-host", "https://s3.test/a/b"],
])("the s3 signer addresses a bucket by %s: %s", async (addressing, url) => {
  expect((await sign("s3", { config: { ...config, addressing }, secret })).split("?")[0]).toBe(url);
});
