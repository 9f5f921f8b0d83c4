/** Checks a SigV4A signature without the signer's code, as AWS's documents describe it, for one access key and one access point. */
import { createHash, createPublicKey, verify } from "node:crypto";

/** The sample access key of aws-c-auth. `publicX` and `publicY` are the public key that aws-c-auth publishes for it. */
export const secret = {
  accessKeyId: "AKISORANDOMAASORANDOM",
  secretAccessKey: "q+jcrXGc+0zWN6uzclKVhvMmUsIfRPa4rlRandom",
};
export const publicX = "15d242ceebf8d8169fd6a8b5a746c41140414c3b07579038da06af89190fffcb";
export const publicY = "0515242cedd82e94799482e4c0514b505afccf2c0c98d6a553bf539f424c5ec0";
export const host = "mfzwi23gnjvgw.accesspoint.s3-global.amazonaws.com";
export const config = { endpoint: `https://${host}` };

export const urlForms = [
  { method: "GET", attribution: [] },
  { method: "HEAD", sessionToken: "a/token+of==", attribution: [["repository", "acme/app"]] },
] as const;

export function canonicalOf(method: string, url: string): string {
  const { pathname, search } = new URL(url);
  const query = search
    .slice(1)
    .replace(/&X-Amz-Signature=[0-9a-f]+/, "")
    .split("&")
    .toSorted()
    .join("&");
  return `${method}\n${pathname}\n${query}\nhost:${host}\n\nhost\nUNSIGNED-PAYLOAD`;
}

const hexToBase64url = (hex: string) => Buffer.from(hex, "hex").toString("base64url");
const publicKey = createPublicKey({
  key: { kty: "EC", crv: "P-256", x: hexToBase64url(publicX), y: hexToBase64url(publicY) },
  format: "jwk",
});

export function isSigned(method: string, url: string): boolean {
  const digest = createHash("sha256").update(canonicalOf(method, url)).digest("hex");
  const text = `AWS4-ECDSA-P256-SHA256\n20661123T100000Z\n20661123/s3/aws4_request\n${digest}`;
  const signature = new URL(url).searchParams.get("X-Amz-Signature") ?? "";
  return verify("sha256", Buffer.from(text), publicKey, Buffer.from(signature, "hex"));
}
