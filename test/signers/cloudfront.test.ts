import { verify } from "node:crypto";
import { describe, expect, test } from "vitest";
import { objectKeys } from "./object-keys.ts";
import { p256, pem, rsa } from "./samples.ts";
import { expiresSeconds, sign } from "./sign.ts";

const baseUrl = "https://d111111abcdef8.cloudfront.net";
const keyPairId = "K2JCJMDEHXQW5F";
const hashes = ["SHA-1", "SHA-256"] as const;
const attribution = [["repository", "acme/app"]] as const;

/** As CloudFront does, makes the canned policy again from the URL and verifies the signature by the public key. */
function isValid(url: string): boolean {
  const [resource = "", query = ""] = url.split(/[?&](?=Expires=)/);
  const parameters = new URLSearchParams(query);
  const policy = `{"Statement":[{"Resource":"${resource}","Condition":{"DateLessThan":{"AWS:EpochTime":${parameters.get("Expires")}}}}]}`;
  const base64 = (parameters.get("Signature") ?? "").replaceAll("-", "+").replaceAll("_", "=").replaceAll("~", "/");
  const hash = parameters.get("Hash-Algorithm") ?? "SHA1";
  const key = parameters.get("Key-Pair-Id") === "KEC" ? p256.publicKey : rsa.publicKey;
  return verify(hash, Buffer.from(policy), key, Buffer.from(base64, "base64"));
}

describe.each([
  ["P-256 in PKCS#8", { keyPairId: "KEC", privateKey: pem.p256 }],
  ["P-256 in SEC1", { keyPairId: "KEC", privateKey: pem.sec1 }],
  ["RSA in PKCS#1", { keyPairId, privateKey: pem.pkcs1 }],
])("the cloudfront signer with %s", (_, secret) => {
  test.each(hashes)("makes a URL with %s that verifies only with its own path, end and signature", async (hash) => {
    for (const key of objectKeys) {
      const url = await sign("cloudfront", { key, config: { baseUrl, hash }, secret, attribution });
      expect(isValid(url), key).toBe(true);
      expect(isValid(url.replace("/data", "/date")), key).toBe(false);
      expect(isValid(url.replace(`Expires=${expiresSeconds}`, `Expires=${expiresSeconds + 1}`)), key).toBe(false);
      expect(
        isValid(
          url.replace(/Signature=(.{20})(.)/, (_all, head, char) => `Signature=${head}${char === "A" ? "B" : "A"}`),
        ),
        key,
      ).toBe(false);
    }
  });
});

test.each(["192.0.2.1", "192.0.2.0/33", "2001:db8::/32", "everywhere"])(
  "the cloudfront signer refuses %s as the block of a policy",
  async (sourceCidr) => {
    const secret = { keyPairId, privateKey: pem.p256 };
    await expect(sign("cloudfront", { config: { baseUrl, sourceCidr }, secret })).rejects.toThrow("a block of IPv4");
  },
);
