import { test } from "vitest";
import { encodePath } from "../../../src/signers/encode.ts";
import { oracleStores } from "../../signers/oracle-stores.ts";
import { window } from "../../signers/sign.ts";
import { describeWith } from "../tools.ts";
import { expectRecorded, expectSameUrls, type Oracle } from "./compare.ts";
import { loadOracle } from "./sdk.ts";

const stores = oracleStores.azure;

const oracle: Oracle<(typeof stores)[keyof typeof stores]> = {
  scheme: "azure",
  packageName: "@azure/storage-blob",
  signs: () => true,
  urlOf: ({ config: { endpoint, account, container }, secret }, blobName) => {
    const azure = loadOracle("@azure/storage-blob");
    const sas = {
      containerName: container,
      blobName,
      permissions: azure.BlobSASPermissions.parse("r"),
      expiresOn: window.expiresAt,
      protocol: azure.SASProtocol.Https,
      version: "2020-12-06",
    };
    const query =
      "accountKey" in secret
        ? azure.generateBlobSASQueryParameters(sas, new azure.StorageSharedKeyCredential(account, secret.accountKey))
        : azure.generateBlobSASQueryParameters(sas, withDates(secret.userDelegationKey), account);
    return `${endpoint}${encodePath(`/${container}/${blobName}`)}?${query.toString()}`;
  },
};

const withDates = <Key extends { readonly signedStartsOn: string; readonly signedExpiresOn: string }>(key: Key) => ({
  ...key,
  signedStartsOn: new Date(key.signedStartsOn),
  signedExpiresOn: new Date(key.signedExpiresOn),
});

describeWith([oracle.packageName], "the azure signer and Azure's SDK", () => {
  test.each(Object.entries(stores))("make the same URL of every object key: %s", async (_form, store) => {
    await expectSameUrls(oracle, store);
  });

  test("make the URLs that are recorded for `npm test`", () => expectRecorded(oracle, stores));
});
