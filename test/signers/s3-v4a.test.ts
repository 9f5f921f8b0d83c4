import { createECDH, createHash, createHmac, createPublicKey, verify } from "node:crypto";
import { auth, http } from "aws-crt";
import { describe, expect, test } from "vitest";
import { objectKeys } from "./object-keys.ts";
import { openedSecret, sign, window } from "./sign.ts";

/** The sample pair of aws-c-auth, with the public key that it publishes for it. */
const secret = { accessKeyId: "AKISORANDOMAASORANDOM", secretAccessKey: "q+jcrXGc+0zWN6uzclKVhvMmUsIfRPa4rlRandom" };
const x = "15d242ceebf8d8169fd6a8b5a746c41140414c3b07579038da06af89190fffcb";
const y = "0515242cedd82e94799482e4c0514b505afccf2c0c98d6a553bf539f424c5ec0";
const host = "mfzwi23gnjvgw.accesspoint.s3-global.amazonaws.com";
const config = { endpoint: `https://${host}` };

/** AWS's own verifier. It signs the request itself, so it also finds a canonical request that is not as it should be. */
function isValid(method: string, url: string, canonical: string, sessionToken?: string): boolean {
  const { pathname, searchParams } = new URL(url);
  const provider = auth.AwsCredentialsProvider.newStatic(secret.accessKeyId, secret.secretAccessKey, sessionToken);
  const own = [...searchParams].filter(([name]) => !name.startsWith("X-Amz-"));
  const query = own.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");
  const request = new http.HttpRequest(
    method,
    query === "" ? pathname : `${pathname}?${query}`,
    new http.HttpHeaders([["host", host]]),
  );
  const signing = {
    algorithm: auth.AwsSigningAlgorithm.SigV4Asymmetric,
    signature_type: auth.AwsSignatureType.HttpRequestViaQueryParams,
    provider,
    region: "*",
    service: "s3",
    date: window.issuedAt,
    use_double_uri_encode: false,
    should_normalize_uri_path: false,
    signed_body_value: auth.AwsSignedBodyValue.UnsignedPayload,
    signed_body_header: auth.AwsSignedBodyHeaderType.None,
    expiration_in_seconds: 1200,
  };
  try {
    return auth.aws_verify_sigv4a_signing(request, signing, canonical, searchParams.get("X-Amz-Signature") ?? "", x, y);
  } catch {
    return false;
  }
}

function canonicalOf(method: string, url: string): string {
  const { pathname, search } = new URL(url);
  const query = search
    .slice(1)
    .replace(/&X-Amz-Signature=[0-9a-f]+/, "")
    .split("&")
    .toSorted()
    .join("&");
  return `${method}\n${pathname}\n${query}\nhost:${host}\n\nhost\nUNSIGNED-PAYLOAD`;
}

describe.each([
  ["GET", {}, []],
  ["HEAD", { sessionToken: "a/token+of==" }, [["repository", "acme/app"]]],
] as const)("a URL for %s", (method, session, attribution) => {
  test("is verified by AWS's library, and is not with another path or signature", async () => {
    for (const key of objectKeys) {
      const url = await sign("s3-v4a", { key, method, config, secret: { ...secret, ...session }, attribution });
      const token = "sessionToken" in session ? session.sessionToken : undefined;
      expect(isValid(method, url, canonicalOf(method, url), token), key).toBe(true);
      const elsewhere = url.replace("/data", "/date");
      expect(isValid(method, elsewhere, canonicalOf(method, elsewhere), token)).toBe(false);
      const forged = url.replace(
        /(X-Amz-Signature=.{20})./,
        (_, start: string) => `${start}${url.includes(`${start}0`) ? 1 : 0}`,
      );
      expect(isValid(method, forged, canonicalOf(method, forged), token)).toBe(false);
    }
  });
});

test("a URL's signature is over its end too", async () => {
  const url = await sign("s3-v4a", { config, secret });
  const publicKey = createPublicKey({
    key: {
      kty: "EC",
      crv: "P-256",
      x: Buffer.from(x, "hex").toString("base64url"),
      y: Buffer.from(y, "hex").toString("base64url"),
    },
    format: "jwk",
  });
  const verifies = (changed: string) => {
    const digest = createHash("sha256").update(canonicalOf("GET", changed)).digest("hex");
    const text = `AWS4-ECDSA-P256-SHA256\n20661123T100000Z\n20661123/s3/aws4_request\n${digest}`;
    const signature = new URL(changed).searchParams.get("X-Amz-Signature") ?? "";
    return verify("sha256", Buffer.from(text), publicKey, Buffer.from(signature, "hex"));
  };
  expect([verifies(url), verifies(url.replace("Expires=1200", "Expires=1201"))]).toEqual([true, false]);
  expect(new URL(url).searchParams.get("X-Amz-Region-Set")).toBe("*");
});

test("the key pair of an access key is the published one", async () => {
  const input = Buffer.concat([
    Buffer.from([0, 0, 0, 1]),
    Buffer.from("AWS4-ECDSA-P256-SHA256\0"),
    Buffer.from(secret.accessKeyId),
    Buffer.from([1, 0, 0, 1, 0]),
  ]);
  const candidate = createHmac("sha256", `AWS4A${secret.secretAccessKey}`).update(input).digest("hex");
  const pair = createECDH("prime256v1");
  pair.setPrivateKey((BigInt(`0x${candidate}`) + 1n).toString(16).padStart(64, "0"), "hex");
  expect(pair.getPublicKey("hex")).toBe(`04${x}${y}`);
  expect(await openedSecret("s3-v4a", secret)).toMatchObject(secret);
});
