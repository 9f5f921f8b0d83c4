/**
 * `npm run e2e` compares our URLs of these stores with those that the vendors' SDKs make (test/e2e/oracles). `npm test` compares a few URLs with
 * those in `recorded/`, which the same SDKs made.
 */
import { createPrivateKey } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Case } from "./sign.ts";

export type OracleStore = Pick<Case, "config" | "secret" | "attribution">;

/** This key was made for the recorded URLs and opens nothing. It is fixed, so that the RSA signature of a text is always the same. */
const privateKey = createPrivateKey(readFileSync(new URL("recorded/rsa.pem", import.meta.url)));
export const rsaPem = {
  pkcs8: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  pkcs1: privateKey.export({ type: "pkcs1", format: "pem" }).toString(),
};

const attribution = [["repository", "acme/app"]] as const;
const cdn = "https://cdn.test";
const akamaiKey = "aabbccddeeff00112233445566778899";
const azure = { endpoint: "https://poda.blob.core.windows.net", account: "poda", container: "registry" };
const userDelegationKey = {
  signedObjectId: "11111111-2222-3333-4444-555555555555",
  signedTenantId: "66666666-7777-8888-9999-000000000000",
  signedStartsOn: "2066-11-22T00:00:00Z",
  signedExpiresOn: "2066-11-28T00:00:00Z",
  signedService: "b",
  signedVersion: "2020-12-06",
  value: Buffer.from("a delegated key").toString("base64"),
};
const cloudfront = { baseUrl: "https://d111111abcdef8.cloudfront.net" };
const keyPairId = "K2JCJMDEHXQW5F";
const cannedPolicy = (hash: "SHA-1" | "SHA-256") => ({
  config: { ...cloudfront, hash },
  secret: { keyPairId, privateKey: rsaPem.pkcs1 },
});
const policyForAddresses = (hash: "SHA-1" | "SHA-256") => ({
  config: { ...cloudfront, hash, sourceCidr: "192.0.2.0/24" },
  secret: { keyPairId, privateKey: rsaPem.pkcs8 },
});
const client_email = "edge@project.iam.gserviceaccount.com";

export const oracleStores = {
  akamai: {
    "a token": { config: { baseUrl: cdn, parameter: "__token__" }, secret: { key: akamaiKey } },
    "a token with salt": {
      config: { baseUrl: cdn, parameter: "hdnts" },
      secret: { key: akamaiKey, salt: "a grain of salt" },
    },
  },
  azure: {
    "a service SAS": { config: azure, secret: { accountKey: Buffer.from("an account's key").toString("base64") } },
    "a user delegation SAS": { config: azure, secret: { userDelegationKey } },
  },
  cloudfront: {
    "a canned policy with SHA-1": cannedPolicy("SHA-1"),
    "a canned policy with SHA-256": cannedPolicy("SHA-256"),
    "a canned policy with SHA-1 and attribution": { ...cannedPolicy("SHA-1"), attribution },
    "a canned policy with SHA-256 and attribution": { ...cannedPolicy("SHA-256"), attribution },
    "a policy for one block of addresses with SHA-1": policyForAddresses("SHA-1"),
    "a policy for one block of addresses with SHA-256": policyForAddresses("SHA-256"),
  },
  gcs: {
    "a bucket in the path": {
      config: { bucket: "pod-a", addressing: "path" },
      secret: { client_email, private_key: rsaPem.pkcs8 },
    },
    "a bucket in the host name, with attribution": {
      config: { bucket: "pod-a", addressing: "virtual-host" },
      secret: { client_email, private_key: rsaPem.pkcs1 },
      attribution,
    },
  },
} as const satisfies Readonly<Record<string, Readonly<Record<string, OracleStore>>>>;

export type OracleScheme = keyof typeof oracleStores;

/** Each endpoint is the one that @aws-sdk/client-s3 3.1169.0 uses with the `options` beside it. `url` is the SDK's URL without its query. */
export const s3Hosts = [
  [
    "https://s3.dualstack.eu-central-1.amazonaws.com",
    { options: { useDualstackEndpoint: true }, url: "https://pod-a.s3.dualstack.eu-central-1.amazonaws.com/a/b" },
  ],
  [
    "https://s3-fips.us-east-1.amazonaws.com",
    {
      options: { useFipsEndpoint: true, region: "us-east-1" },
      url: "https://pod-a.s3-fips.us-east-1.amazonaws.com/a/b",
    },
  ],
  [
    "https://s3-accelerate.amazonaws.com",
    { options: { useAccelerateEndpoint: true }, url: "https://pod-a.s3-accelerate.amazonaws.com/a/b" },
  ],
] as const;
