import { encodePath } from "../../../src/signers/encode.ts";
import { oracleStores } from "../../signers/oracle-stores.ts";
import { expiresSeconds } from "../../signers/sign.ts";
import { compareWith } from "./compare.ts";
import { loadOracle } from "./sdk.ts";

compareWith({
  scheme: "akamai",
  packageName: "akamai-edgeauth",
  stores: oracleStores.akamai,
  urlOf: ({ config: { baseUrl, parameter }, secret }, key) => {
    const EdgeAuth = loadOracle("akamai-edgeauth");
    const path = encodePath(`/${key}`);
    // `~` parts the fields of a token, so the list of paths has `?`, which stands for any one character there.
    const token = new EdgeAuth({ ...secret, endTime: expiresSeconds }).generateACLToken(path.replaceAll("~", "?"));
    return `${baseUrl}${path}?${parameter}=${token}`;
  },
});
