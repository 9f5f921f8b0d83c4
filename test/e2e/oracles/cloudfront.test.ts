import { test } from "vitest";
import { encodePath } from "../../../src/signers/encode.ts";
import { oracleStores, rsaPem } from "../../signers/oracle-stores.ts";
import { expiresSeconds, window } from "../../signers/sign.ts";
import { describeWith } from "../tools.ts";
import { expectRecorded, expectSameUrls, type Oracle } from "./compare.ts";
import { loadOracle } from "./sdk.ts";

const stores = oracleStores.cloudfront;

const oracle: Oracle<(typeof stores)[keyof typeof stores]> = {
  scheme: "cloudfront",
  packageName: "@aws-sdk/cloudfront-signer",
  // The SDK does not escape `!'()*` in a policy that it makes itself. Our signer does, because `*` is a wildcard there. So keys with these characters
  // are compared only with `sourceCidr`, where we give the SDK an escaped policy.
  signs: ({ config }, key) => "sourceCidr" in config || !/[!'()*]/.test(key),
  urlOf: (store, key) => {
    const { config, secret } = store;
    const place = `${config.baseUrl}${encodePath(`/${key}`)}`;
    const url = "attribution" in store ? `${place}?repository=acme%2Fapp` : place;
    const algorithm: "SHA1" | "SHA256" = config.hash === "SHA-1" ? "SHA1" : "SHA256";
    const options = { url, keyPairId: secret.keyPairId, privateKey: rsaPem.pkcs8, algorithm };
    const end =
      "sourceCidr" in config ? { policy: policyFor(url, config.sourceCidr) } : { dateLessThan: window.expiresAt };
    // In the path of the URL that the SDK returns, `!'()*` are not escaped. So we take only the query from that URL.
    return `${place}${new URL(loadOracle("@aws-sdk/cloudfront-signer").getSignedUrl({ ...options, ...end })).search}`;
  },
};

const policyFor = (url: string, sourceCidr: string): string =>
  `{"Statement":[{"Resource":"${url}","Condition":{"DateLessThan":{"AWS:EpochTime":${expiresSeconds}},"IpAddress":{"AWS:SourceIp":"${sourceCidr}"}}}]}`;

describeWith([oracle.packageName], "the cloudfront signer and AWS's SDK", () => {
  test.each(Object.entries(stores))("make the same URL for every object key, with %s", async (_form, store) => {
    await expectSameUrls(oracle, store);
  });

  test("make the URLs that are recorded for `npm test`", () => expectRecorded(oracle, stores));
});
