import { encodePath } from "../../../src/signers/encode.ts";
import { oracleStores, rsaPem } from "../../signers/oracle-stores.ts";
import { expiresSeconds, window } from "../../signers/sign.ts";
import { compareWith } from "./compare.ts";
import { loadOracle } from "./sdk.ts";

compareWith({
  scheme: "cloudfront",
  packageName: "@aws-sdk/cloudfront-signer",
  stores: oracleStores.cloudfront,
  // In a canned policy the SDK signs these characters without escapes, though `*` is a wildcard in policies. In a policy that it is given, they are escaped.
  signs: ({ config }, key) => "sourceCidr" in config || !/[!'()*]/.test(key),
  urlOf: (store, key) => {
    const { config, secret } = store;
    const place = `${config.baseUrl}${encodePath(`/${key}`)}`;
    const url = "attribution" in store ? `${place}?repository=acme%2Fapp` : place;
    const algorithm: "SHA1" | "SHA256" = config.hash === "SHA-1" ? "SHA1" : "SHA256";
    const options = { url, keyPairId: secret.keyPairId, privateKey: rsaPem.pkcs8, algorithm };
    const end =
      "sourceCidr" in config ? { policy: policyFor(url, config.sourceCidr) } : { dateLessThan: window.expiresAt };
    // The SDK also removes those escapes from the path of its URL, which it did not sign that way, so only its query counts.
    return `${place}${new URL(loadOracle("@aws-sdk/cloudfront-signer").getSignedUrl({ ...options, ...end })).search}`;
  },
});

const policyFor = (url: string, sourceCidr: string): string =>
  `{"Statement":[{"Resource":"${url}","Condition":{"DateLessThan":{"AWS:EpochTime":${expiresSeconds}},"IpAddress":{"AWS:SourceIp":"${sourceCidr}"}}}]}`;
