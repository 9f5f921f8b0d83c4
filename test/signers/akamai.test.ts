import EdgeAuth from "akamai-edgeauth";
import { expect, test } from "vitest";
import { encodePath } from "../../src/signers/encode.ts";
import { objectKeys } from "./object-keys.ts";
import { expiresSeconds, sign } from "./sign.ts";

const key = "aabbccddeeff00112233445566778899";

test.each([
  ["__token__", undefined],
  ["hdnts", "a grain of salt"],
])("the token in %s equals Akamai's own library, with salt %s", async (parameter, salt) => {
  const options = { key, endTime: expiresSeconds, ...(salt === undefined ? {} : { salt }) };
  const oracle = new EdgeAuth(options);
  for (const objectKey of objectKeys) {
    const config = { baseUrl: "https://cdn.test", parameter };
    const url = await sign("akamai", { key: objectKey, config, secret: { key, salt } });
    const path = encodePath(`/${objectKey}`);
    const token = oracle.generateACLToken(path.replaceAll("~", "?"));
    expect(url).toBe(`https://cdn.test${path}?${parameter}=${token}`);
  }
});

test("the token stands behind parameters of one's own", async () => {
  const attribution = [["repository", "acme/app"]] as const;
  const url = await sign("akamai", { config: { baseUrl: "https://cdn.test" }, secret: { key }, attribution });
  expect(url).toMatch(
    /^https:\/\/cdn\.test\/a\/b\?repository=acme%2Fapp&__token__=exp=\d+~acl=\/a\/b~hmac=[0-9a-f]{64}$/,
  );
});
