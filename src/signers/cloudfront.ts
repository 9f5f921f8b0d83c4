import * as v from "valibot";
import { parseCidr } from "../lib/address.ts";
import { base64, utf8 } from "../lib/bytes.ts";
import { ecdsaSignature } from "./der.ts";
import { cdnUrl } from "./encode.ts";
import { type PrivateKey, rsaOrP256Key } from "./keys.ts";
import { defineSigner, secretEntries } from "./signer.ts";
import { atBaseUrl, cdnEntries, nonEmpty, sealed, storeConfig } from "./store.ts";
import { epochSeconds } from "./window.ts";

type Hash = "SHA-1" | "SHA-256";

const isIpv4Block = (text: string): boolean => text.includes("/") && parseCidr(text)?.family === 4;

/** Amazon CloudFront signed URLs. The key must be in the distribution's trusted key group. */
export const cloudfront = defineSigner({
  config: storeConfig("cloudfront", {
    ...cdnEntries,
    /**
     * Only clients in this IPv4 block may use the URL. With this member, the URL contains its policy (CloudFront: "custom policy"), and otherwise
     * only its expiry time ("canned policy").
     */
    sourceCidr: v.optional(v.pipe(v.string(), v.check(isIpv4Block, "a block of IPv4 addresses, as in 192.0.2.0/24"))),
    /** Unless the URL names SHA-256, CloudFront assumes SHA-1. */
    hash: v.optional(v.picklist(["SHA-1", "SHA-256"]), "SHA-256"),
    credentials: sealed,
  }),
  secret: v.objectAsync({ ...secretEntries, keyPairId: nonEmpty, privateKey: rsaOrP256Key }),
  ...atBaseUrl,
  /** The policy is signed even if the URL has only the expiry time. */
  textToSign: ({ key, config: { baseUrl, sourceCidr }, window, attribution }) => {
    const source = sourceCidr === undefined ? {} : { IpAddress: { "AWS:SourceIp": sourceCidr } };
    const condition = { DateLessThan: { "AWS:EpochTime": epochSeconds(window.expiresAt) }, ...source };
    return JSON.stringify({ Statement: [{ Resource: cdnUrl(baseUrl, key, attribution), Condition: condition }] });
  },
  sign: async ({ key, config, secret: { keyPairId, privateKey }, window, attribution }, text) => {
    const { baseUrl, sourceCidr, hash } = config;
    const policy = utf8(text);
    const parameters = [
      sourceCidr === undefined ? `Expires=${epochSeconds(window.expiresAt)}` : `Policy=${urlSafe(policy)}`,
      `Signature=${urlSafe(await signPolicy(policy, privateKey, hash))}`,
      `Key-Pair-Id=${keyPairId}`,
      ...(hash === "SHA-256" ? ["Hash-Algorithm=SHA256"] : []),
    ];
    return `${cdnUrl(baseUrl, key, attribution)}${attribution.length === 0 ? "?" : "&"}${parameters.join("&")}`;
  },
});

async function signPolicy(policy: Uint8Array<ArrayBuffer>, key: PrivateKey, hash: Hash): Promise<Uint8Array> {
  if (key.kind === "p256") return ecdsaSignature(await crypto.subtle.sign({ name: "ECDSA", hash }, key.key, policy));
  const rsa = hash === "SHA-1" ? key.sha1 : key.sha256;
  return new Uint8Array(await crypto.subtle.sign("RSASSA-PKCS1-v1_5", rsa, policy));
}

/** Encodes in CloudFront's variant of base64, which differs from base64url. */
const urlSafe = (bytes: Uint8Array): string =>
  base64(bytes).replaceAll("+", "-").replaceAll("=", "_").replaceAll("/", "~");
