import { describe, expect, test } from "vitest";
import { hex } from "../../src/lib/bytes.ts";
import { canonicalRequest, type DayKeys, presign, scopedHmac, stringToSign } from "../../src/signers/sigv4.ts";
import { textToSign } from "./sign.ts";

describe("the example of AWS's guide, 'Authenticating Requests: Using Query Parameters', step by step", () => {
  const secret = { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" };
  const window = { issuedAt: new Date("2013-05-24T00:00:00Z"), expiresAt: new Date("2013-05-25T00:00:00Z") };
  const request = {
    method: "GET",
    origin: "https://examplebucket.s3.amazonaws.com",
    path: "/test.txt",
    host: "examplebucket.s3.amazonaws.com",
    vendor: "X-Amz",
    algorithm: "AWS4-HMAC-SHA256",
    accessKeyId: secret.accessKeyId,
    service: "us-east-1/s3/aws4_request",
    window,
    parameters: [],
  };
  const query =
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request" +
    "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host";
  const canonical = `GET\n/test.txt\n${query}\nhost:examplebucket.s3.amazonaws.com\n\nhost\nUNSIGNED-PAYLOAD`;
  const text =
    "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n" +
    "3bfa292879f6447bbcda7001decf97f4a54dc650c8942174ae0a9121cf58ad04";
  const signature = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";

  test("the canonical request is the published one, and is the text that the scheme s3 signs", async () => {
    expect(canonicalRequest(request)).toBe(canonical);
    const config = {
      endpoint: "https://s3.amazonaws.com",
      bucket: "examplebucket",
      addressing: "virtual-host",
      region: "us-east-1",
    };
    expect(await textToSign("s3", { key: "test.txt", config, secret, window })).toBe(canonical);
  });

  test("the string to sign is the published one", async () => {
    expect(await stringToSign(request, canonical)).toBe(text);
  });

  test("the signature is the published one, in a URL that has the signed query", async () => {
    const hmac = scopedHmac({ start: `AWS4${secret.secretAccessKey}`, secret, dayKeys: new WeakMap() });
    expect(hex(await hmac(text, "20130524/us-east-1/s3/aws4_request"))).toBe(signature);
    expect(await presign(request, canonical, hmac)).toBe(
      `https://examplebucket.s3.amazonaws.com/test.txt?${query}&X-Amz-Signature=${signature}`,
    );
  });
});

test("a signing key that is remembered for one secret and one day signs nothing for another", async () => {
  const secrets = ["AWS4one", "AWS4other"].map((start) => ({ start }));
  const scopes = ["20130524/us-east-1/s3/aws4_request", "20130525/us-east-1/s3/aws4_request"] as const;
  async function signatures(keysOf: () => DayKeys): Promise<readonly string[]> {
    const all: string[] = [];
    for (const scope of [...scopes, ...scopes]) {
      for (const secret of secrets) {
        const sign = scopedHmac({ start: secret.start, secret, dayKeys: keysOf() });
        all.push(hex(await sign("a text", scope)));
      }
    }
    return all;
  }
  const fresh = await signatures(() => new WeakMap());
  expect(new Set(fresh).size).toBe(4);
  const dayKeys: DayKeys = new WeakMap();
  expect(await signatures(() => dayKeys)).toEqual(fresh);
  expect(secrets.map((secret) => dayKeys.get(secret)?.scope)).toEqual([scopes[1], scopes[1]]);
});
