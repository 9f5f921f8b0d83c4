import { createHmac } from "node:crypto";
import { describe, expect, test } from "vitest";
import { objectKeys } from "./object-keys.ts";
import { expiresSeconds, sign } from "./sign.ts";

const secret = { key: "SecurityKey" };
const config = { baseUrl: "https://token-tester.b-cdn.net" };

describe("the bunny signer makes the URLs of bunny.net's own vectors", () => {
  const window = { issuedAt: new Date(0), expiresAt: new Date(1598024587_000) };

  test.each([
    [[], "o10JRWlsAItyAsdKS6jJKjabHN4FrFsplDHPV1idcX4", ""],
    [[["token_countries", "CA,US"]], "i5s3Uv7mnrFfN5nznwU2BxhILpnipYeE18TapV0WNFM", "&token_countries=CA%2CUS"],
    [[["token_ignore_params", "true"]], "1lwWBD_c1IAGSj1UKPoxreu8ePDQ-Z9FoWLcRn_RRH0", "&token_ignore_params=true"],
    [[["limit", "1000"]], "DAVapqNNED3Z7JkjRTYX0UOIHNtbHEuuhRNEc4A7mMQ", "&limit=1000"],
  ] as const)("with parameters %j", async (attribution, token, sent) => {
    const url = await sign("bunny", { key: "300kb.jpg", config, secret, window, attribution });
    expect(url).toBe(`${config.baseUrl}/300kb.jpg?token=HS256-${token}${sent}&expires=1598024587`);
  });
});

test("the bunny signer signs every object key, with its parameters sorted", async () => {
  for (const key of objectKeys) {
    const attribution = [
      ["size-bytes", "7"],
      ["repository", "acme/app"],
    ] as const;
    const { pathname, searchParams } = new URL(await sign("bunny", { key, config, secret, attribution }));
    const signed = `${pathname}${expiresSeconds}repository=acme/app&size-bytes=7`;
    expect(searchParams.get("token")).toBe(
      `HS256-${createHmac("sha256", secret.key).update(signed).digest("base64url")}`,
    );
  }
});
