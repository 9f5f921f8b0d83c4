import { AwsClient } from "aws4fetch";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { presign, s3 } from "../../src/signers/s3.ts";

const credentials = {
  accessKeyId: "AKIAIOSFODNN7EXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
};

describe("presign", () => {
  test("equals the vector of AWS's guide, 'Authenticating Requests: Using Query Parameters'", async () => {
    const url = await presign({
      method: "GET",
      protocol: "https:",
      host: "examplebucket.s3.amazonaws.com",
      path: "/test.txt",
      region: "us-east-1",
      credentials,
      issuedAt: new Date("2013-05-24T00:00:00Z"),
      lifeSeconds: 86_400,
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
        fc.constantFrom("GET", "HEAD"),
        fc.constantFrom("storage.test", "localhost:9000"),
        fc.option(fc.stringMatching(/^[A-Za-z0-9+/=]{1,40}$/)),
        async (segments, method, host, sessionToken) => {
          const issuedAt = new Date("2026-11-23T10:00:00Z");
          const session = sessionToken === null ? {} : { sessionToken };
          const ours = await presign({
            method,
            protocol: "https:",
            host,
            path: `/bucket/${segments.join("/")}`,
            region: "eu-west-1",
            credentials: { ...credentials, ...session },
            issuedAt,
            lifeSeconds: 1200,
          });
          const oracle = new AwsClient({ ...credentials, ...session, service: "s3", region: "eu-west-1" });
          const unsigned = new URL(
            `https://${host}/bucket/${segments.map(encodeURIComponent).join("/")}?X-Amz-Expires=1200`,
          );
          const theirs = await oracle.sign(unsigned.href, {
            method,
            aws: { signQuery: true, datetime: "20261123T100000Z" },
          });
          expect(new URL(ours).searchParams.get("X-Amz-Signature")).toBe(
            new URL(theirs.url).searchParams.get("X-Amz-Signature"),
          );
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe("an s3 store", () => {
  const config = {
    scheme: "s3",
    endpoint: "https://s3.test",
    region: "auto",
    bucket: "pod-a",
    addressing: "path",
    prefix: "",
    credentials: "sealed",
  } as const;
  const sign = (now: string, changed: Partial<typeof config | { prefix: string; addressing: "virtual-host" }> = {}) =>
    s3.sign({ method: "GET", key: "a/b", config: { ...config, ...changed }, secret: credentials, now: new Date(now) });

  test("gives one URL within a window, and never less than ten minutes of life", async () => {
    expect(await sign("2026-11-23T10:00:00Z")).toBe(await sign("2026-11-23T10:09:59Z"));
    expect(await sign("2026-11-23T10:00:00Z")).not.toBe(await sign("2026-11-23T10:10:00Z"));
    const query = new URL(await sign("2026-11-23T10:09:59Z")).searchParams;
    expect([query.get("X-Amz-Date"), query.get("X-Amz-Expires")]).toEqual(["20261123T100000Z", "1200"]);
  });

  test("knows path and virtual-host addressing, and a root directory", async () => {
    const start = async (changed: Parameters<typeof sign>[1]) =>
      (await sign("2026-11-23T10:00:00Z", changed)).split("?")[0];
    expect(await start({})).toBe("https://s3.test/pod-a/a/b");
    expect(await start({ prefix: "root/dir" })).toBe("https://s3.test/pod-a/root/dir/a/b");
    expect(await start({ addressing: "virtual-host" })).toBe("https://pod-a.s3.test/a/b");
  });
});
