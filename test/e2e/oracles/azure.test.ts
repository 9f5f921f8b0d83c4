import { encodePath } from "../../../src/signers/encode.ts";
import { oracleStores } from "../../signers/oracle-stores.ts";
import { window } from "../../signers/sign.ts";
import { compareWith } from "./compare.ts";
import { loadOracle } from "./sdk.ts";

compareWith({
  scheme: "azure",
  packageName: "@azure/storage-blob",
  stores: oracleStores.azure,
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
});

const withDates = <Key extends { readonly signedStartsOn: string; readonly signedExpiresOn: string }>(key: Key) => ({
  ...key,
  signedStartsOn: new Date(key.signedStartsOn),
  signedExpiresOn: new Date(key.signedExpiresOn),
});
