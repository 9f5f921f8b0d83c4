import { generateKeyPairSync } from "node:crypto";
import type { SigningScheme } from "./sign.ts";

export const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
export const p256 = generateKeyPairSync("ec", { namedCurve: "P-256" });
const ed25519 = generateKeyPairSync("ed25519");
export const pem = {
  pkcs8: rsa.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  pkcs1: rsa.privateKey.export({ type: "pkcs1", format: "pem" }).toString(),
  p256: p256.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  sec1: p256.privateKey.export({ type: "sec1", format: "pem" }).toString(),
  ed25519: ed25519.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
};

const accessKey = { accessKeyId: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY" };
const baseUrl = "https://cdn.test";
const base64Key = Buffer.from("sixteen bytes ok").toString("base64url");
const userDelegationKey = {
  signedObjectId: "11111111-2222-3333-4444-555555555555",
  signedTenantId: "66666666-7777-8888-9999-000000000000",
  signedStartsOn: "2026-11-22T00:00:00Z",
  signedExpiresOn: "2066-11-28T00:00:00Z",
  signedService: "b",
  signedVersion: "2020-12-06",
  value: Buffer.from("a delegated key").toString("base64"),
};

/** Stores of every scheme, in each of its forms, for the contract suite. `secret` is the value before it is sealed. */
export const samples: Readonly<
  Record<SigningScheme, readonly { readonly config: object; readonly secret?: object }[]>
> = {
  s3: (["path", "virtual-host", "bound-host"] as const).map((addressing) => ({
    config: { endpoint: "https://s3.test", region: "auto", bucket: "pod-a", addressing },
    secret: accessKey,
  })),
  "s3-v4a": [{ config: { endpoint: "https://alias.accesspoint.s3-global.test" }, secret: accessKey }],
  gcs: [
    { config: { bucket: "pod-a" }, secret: { client_email: "edge@project.test", private_key: pem.pkcs8 } },
    {
      config: { bucket: "pod-a", addressing: "virtual-host" },
      secret: { accessId: "GOOG1EXAMPLE", secret: "an HMAC secret" },
    },
  ],
  azure: [{ accountKey: Buffer.from("an account's key").toString("base64") }, { userDelegationKey }].map((secret) => ({
    config: { endpoint: "https://poda.blob.core.test", account: "poda", container: "registry" },
    secret,
  })),
  cloudfront: [pem.pkcs8, pem.pkcs1, pem.p256, pem.sec1].flatMap((privateKey) =>
    [{ hash: "SHA-1" }, { hash: "SHA-256" }, { sourceCidr: "192.0.2.0/24" }].map((form) => ({
      config: { baseUrl, ...form },
      secret: { keyPairId: "K2JCJMDEHXQW5F", privateKey },
    })),
  ),
  "google-cdn": ["url", "prefix"].map((form) => ({
    config: { baseUrl, form },
    secret: { keyName: "my-key", key: base64Key },
  })),
  "media-cdn": ["url", "prefix", "token"].map((form) => ({
    config: { baseUrl, form },
    secret: { keyName: "my-key", privateKey: pem.ed25519 },
  })),
  cloudflare: ["base64", "base64url"].map((encoding) => ({
    config: { baseUrl, ttlSeconds: 600, encoding },
    secret: { key: "a literal of the rule" },
  })),
  akamai: [
    { config: { baseUrl }, secret: { key: "aabbccddeeff00112233445566778899" } },
    {
      config: { baseUrl, parameter: "hdnts" },
      secret: { key: "aabbccddeeff00112233445566778899", salt: "a grain of salt" },
    },
  ],
  bunny: [{ config: { baseUrl }, secret: { key: "SecurityKey" } }],
  nginx: ["md5", "hmac-sha256"].map((algorithm) => ({
    config: { baseUrl, algorithm },
    secret: { secret: "an nginx secret" },
  })),
  public: [{ config: { baseUrl } }],
};
