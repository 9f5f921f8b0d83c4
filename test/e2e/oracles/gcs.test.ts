import { sign as signByNode } from "node:crypto";
import { test } from "vitest";
import { oracleStores, rsaPem } from "../../signers/oracle-stores.ts";
import { window } from "../../signers/sign.ts";
import { describeWith } from "../tools.ts";
import { expectRecorded, expectSameUrls, type Oracle } from "./compare.ts";
import { loadOracle } from "./sdk.ts";

const stores = oracleStores.gcs;

const oracle: Oracle<(typeof stores)[keyof typeof stores]> = {
  scheme: "gcs",
  packageName: "@google-cloud/storage",
  signs: () => true,
  urlOf: async (store, key) => {
    const { config, secret } = store;
    const attribution = "attribution" in store ? store.attribution : [];
    const storage = new (loadOracle("@google-cloud/storage").Storage)({ projectId: "project" });
    // The SDK calls only these two functions of Google's authentication. `sign` uses Node's own crypto.
    storage.authClient = {
      getCredentials: async () => ({ client_email: secret.client_email }),
      sign: async (text) => signByNode("sha256", Buffer.from(text), rsaPem.pkcs8).toString("base64"),
    };
    const file = storage.bucket(config.bucket).file(key);
    const [url] = await file.getSignedUrl({
      version: "v4",
      action: "read",
      accessibleAt: window.issuedAt,
      expires: window.expiresAt,
      virtualHostedStyle: config.addressing === "virtual-host",
      queryParams: Object.fromEntries(attribution.map(([name, value]) => [`x-goog-custom-audit-${name}`, value])),
    });
    return url;
  },
};

describeWith([oracle.packageName], "the gcs signer and Google's SDK", () => {
  test.each(Object.entries(stores))("make the same URL of every object key: %s", async (_form, store) => {
    await expectSameUrls(oracle, store);
  });

  test("make the URLs that are recorded for `npm test`", () => expectRecorded(oracle, stores));
});
