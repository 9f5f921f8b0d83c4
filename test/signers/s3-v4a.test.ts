import { createECDH, createHmac } from "node:crypto";
import { describe, expect, test } from "vitest";
import { objectKeys } from "./object-keys.ts";
import { partsOf, readRecorded } from "./recorded.ts";
import { config, isSigned, publicX, publicY, secret, urlForms } from "./s3-v4a-sample.ts";
import { openedSecret, sign } from "./sign.ts";

const unsigned = (url: string) => partsOf(url.replace(/&X-Amz-Signature=[0-9a-f]+/, ""));

describe.each(urlForms)("the s3-v4a signer's URL for $method", (form) => {
  const { method, attribution } = form;
  const session = "sessionToken" in form ? { sessionToken: form.sessionToken, expiresAt: "2066-11-24T00:00:00Z" } : {};
  const urlOf = (key: string) =>
    sign("s3-v4a", { key, method, config, secret: { ...secret, ...session }, attribution });

  test("has the parameters of the URL from AWS's library, and its signature verifies like the library's", async () => {
    const recorded = Object.entries(readRecorded("s3-v4a").urls[method] ?? {});
    expect(recorded.length).toBeGreaterThanOrEqual(5);
    for (const [key, theirs] of recorded) {
      const ours = await urlOf(key);
      expect(unsigned(ours), key).toEqual(unsigned(theirs));
      expect([isSigned(method, theirs), isSigned(method, ours)], key).toEqual([true, true]);
    }
  });

  test("verifies for every object key, but not with another path or method", async () => {
    for (const key of objectKeys) {
      const url = await urlOf(key);
      expect(isSigned(method, url), key).toBe(true);
      expect(isSigned(method, url.replace("/data", "/date")), key).toBe(false);
      expect(isSigned(method === "GET" ? "HEAD" : "GET", url), key).toBe(false);
    }
  });
});

test("the s3-v4a signer signs the end of a URL and names every region", async () => {
  const url = await sign("s3-v4a", { config, secret });
  const prolonged = url.replace("Expires=1200", "Expires=1201");
  expect([isSigned("GET", url), isSigned("GET", prolonged)]).toEqual([true, false]);
  expect(new URL(url).searchParams.get("X-Amz-Region-Set")).toBe("*");
});

test("the s3-v4a signer derives the key pair that AWS published for its sample access key", async () => {
  const input = Buffer.concat([
    Buffer.from([0, 0, 0, 1]),
    Buffer.from("AWS4-ECDSA-P256-SHA256\0"),
    Buffer.from(secret.accessKeyId),
    Buffer.from([1, 0, 0, 1, 0]),
  ]);
  const candidate = createHmac("sha256", `AWS4A${secret.secretAccessKey}`).update(input).digest("hex");
  const pair = createECDH("prime256v1");
  pair.setPrivateKey((BigInt(`0x${candidate}`) + 1n).toString(16).padStart(64, "0"), "hex");
  expect(pair.getPublicKey("hex")).toBe(`04${publicX}${publicY}`);
  expect(await openedSecret("s3-v4a", secret)).toMatchObject(secret);
});
