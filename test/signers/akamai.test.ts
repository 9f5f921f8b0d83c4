import { expect, test } from "vitest";
import { sign } from "./sign.ts";

const key = "aabbccddeeff00112233445566778899";

test("the akamai signer puts its token after the parameters of attribution", async () => {
  const attribution = [["repository", "acme/app"]] as const;
  const url = await sign("akamai", { config: { baseUrl: "https://cdn.test" }, secret: { key }, attribution });
  expect(url).toMatch(
    /^https:\/\/cdn\.test\/a\/b\?repository=acme%2Fapp&__token__=exp=\d+~acl=\/a\/b~hmac=[0-9a-f]{64}$/,
  );
});
