import {
  BlobSASPermissions,
  generateBlobSASQueryParameters,
  SASProtocol,
  StorageSharedKeyCredential,
} from "@azure/storage-blob";
import { describe, expect, test } from "vitest";
import { encodePath } from "../../src/signers/encode.ts";
import { objectKeys } from "./object-keys.ts";
import { sign, window } from "./sign.ts";

const config = { endpoint: "https://poda.blob.core.windows.net", account: "poda", container: "registry" };
const accountKey = Buffer.from("an account's key").toString("base64");
const userDelegationKey = {
  signedObjectId: "11111111-2222-3333-4444-555555555555",
  signedTenantId: "66666666-7777-8888-9999-000000000000",
  signedStartsOn: "2066-11-22T00:00:00Z",
  signedExpiresOn: "2066-11-28T00:00:00Z",
  signedService: "b" as const,
  signedVersion: "2020-12-06",
  value: Buffer.from("a delegated key").toString("base64"),
};
const values = (blobName: string) => ({
  containerName: "registry",
  blobName,
  permissions: BlobSASPermissions.parse("r"),
  expiresOn: window.expiresAt,
  protocol: SASProtocol.Https,
  version: "2020-12-06",
});

describe.each([
  [
    "a service SAS",
    { accountKey },
    (key: string) => generateBlobSASQueryParameters(values(key), new StorageSharedKeyCredential("poda", accountKey)),
  ],
  [
    "a user delegation SAS",
    { userDelegationKey },
    (key: string) => {
      const dates = { signedStartsOn: new Date("2066-11-22"), signedExpiresOn: new Date("2066-11-28") };
      return generateBlobSASQueryParameters(values(key), { ...userDelegationKey, ...dates }, "poda");
    },
  ],
])("%s", (_, secret, oracle) => {
  test("equals Azure's SDK", async () => {
    for (const key of objectKeys) {
      const url = new URL(await sign("azure", { key, config, secret }));
      const theirs = new URLSearchParams(oracle(key).toString());
      expect(Object.fromEntries(url.searchParams), key).toEqual(Object.fromEntries(theirs));
      expect([url.origin, url.pathname]).toEqual([config.endpoint, encodePath(`/registry/${key}`)]);
    }
  });
});

test("an emulator's URL has the account in its path, which is not signed, and may be plain HTTP", async () => {
  const emulator = { ...config, endpoint: "http://127.0.0.1:10000", addressing: "path" };
  const url = new URL(await sign("azure", { key: "a/b", config: emulator, secret: { accountKey } }));
  expect([url.pathname, url.searchParams.get("spr")]).toEqual(["/poda/registry/a/b", "https,http"]);
});
