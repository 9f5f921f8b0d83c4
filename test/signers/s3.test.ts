import { AwsClient } from "aws4fetch";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { s3 } from "../../src/signers/s3.ts";

const secret = {
  accessKeyId: "AKIAIOSFODNN7EXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
};
const config = {
  scheme: "s3",
  endpoint: "https://s3.test",
  region: "auto",
  bucket: "pod-a",
  addressing: "path",
  prefix: "",
  credentials: "sealed",
} as const;
const window = { issuedAt: new Date("2026-11-23T10:00:00Z"), expiresAt: new Date("2026-11-23T10:20:00Z") };
const request = { method: "GET", key: "a/b", config, secret, window, attribution: [] } as const;

test("equals the vector of AWS's guide, 'Authenticating Requests: Using Query Parameters'", async () => {
  const url = await s3.sign({
    ...request,
    key: "test.txt",
    config: {
      ...config,
      endpoint: "https://s3.amazonaws.com",
      bucket: "examplebucket",
      addressing: "virtual-host",
      region: "us-east-1",
    },
    window: { issuedAt: new Date("2013-05-24T00:00:00Z"), expiresAt: new Date("2013-05-25T00:00:00Z") },
  });
  expect(new URL(url).searchParams.get("X-Amz-Signature")).toBe(
    "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
  );
});

test("equals aws4fetch for any key, method, host with a port and session token", async () => {
  const segment = fc
    .string({ unit: "grapheme", minLength: 1, maxLength: 12 })
    .filter((text) => !/[/\\?#%+.\s]/.test(text) && text.isWellFormed());
  await fc.assert(
    fc.asyncProperty(
      fc.array(segment, { minLength: 1, maxLength: 4 }),
      fc.constantFrom("GET" as const, "HEAD" as const),
      fc.constantFrom("storage.test", "localhost:9000"),
      fc.option(fc.stringMatching(/^[A-Za-z0-9+/=]{1,40}$/)),
      async (segments, method, host, sessionToken) => {
        const session = sessionToken === null ? {} : { sessionToken };
        const ours = await s3.sign({
          ...request,
          method,
          key: segments.join("/"),
          config: { ...config, endpoint: `https://${host}` },
          secret: { ...secret, ...session },
        });
        const oracle = new AwsClient({ ...secret, ...session, service: "s3", region: "auto" });
        const unsigned = `https://${host}/pod-a/${segments.map(encodeURIComponent).join("/")}?X-Amz-Expires=1200`;
        const theirs = await oracle.sign(unsigned, { method, aws: { signQuery: true, datetime: "20261123T100000Z" } });
        expect(new URL(ours).searchParams.get("X-Amz-Signature")).toBe(
          new URL(theirs.url).searchParams.get("X-Amz-Signature"),
        );
      },
    ),
    { numRuns: 60 },
  );
});

describe("an s3 store", () => {
  test.each([
    [{ addressing: "path" }, "https://s3.test", "https://s3.test/pod-a/a/b"],
    [{ addressing: "virtual-host" }, "https://pod-a.s3.test", "https://pod-a.s3.test/a/b"],
    [{ addressing: "bound-host" }, "https://s3.test", "https://s3.test/a/b"],
  ] as const)("with %j is dialled at %s", async (changed, origin, url) => {
    const store = { ...config, ...changed };
    expect([s3.origin(store), (await s3.sign({ ...request, config: store })).split("?")[0]]).toEqual([origin, url]);
  });
});
