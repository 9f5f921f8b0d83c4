import { test } from "vitest";
import { encodePath } from "../../../src/signers/encode.ts";
import { oracleStores } from "../../signers/oracle-stores.ts";
import { expiresSeconds } from "../../signers/sign.ts";
import { describeWith } from "../tools.ts";
import { expectRecorded, expectSameUrls, type Oracle } from "./compare.ts";
import { loadOracle } from "./sdk.ts";

const stores = oracleStores.akamai;

const oracle: Oracle<(typeof stores)[keyof typeof stores]> = {
  scheme: "akamai",
  packageName: "akamai-edgeauth",
  signs: () => true,
  urlOf: ({ config: { baseUrl, parameter }, secret }, key) => {
    const EdgeAuth = loadOracle("akamai-edgeauth");
    const path = encodePath(`/${key}`);
    // In Akamai's token, `~` separates the fields. So the path in the token has `?`, which matches any one character, in place of each `~`.
    const token = new EdgeAuth({ ...secret, endTime: expiresSeconds }).generateACLToken(path.replaceAll("~", "?"));
    return `${baseUrl}${path}?${parameter}=${token}`;
  },
};

describeWith([oracle.packageName], "the akamai signer and Akamai's own library", () => {
  test.each(Object.entries(stores))("make the same URL of every object key: %s", async (_form, store) => {
    await expectSameUrls(oracle, store);
  });

  test("make the URLs that are recorded for `npm test`", () => expectRecorded(oracle, stores));
});
