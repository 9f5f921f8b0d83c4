import { createHmac } from "node:crypto";
import { describe, expect, test } from "vitest";
import { objectKeys } from "./object-keys.ts";
import { sign } from "./sign.ts";

const secret = { keyName: "my-key", key: "nZtRohdNF9m3cKM24IcK4w==" };
const window = { issuedAt: new Date(1549751401_000), expiresAt: new Date(1549751401_000) };

describe("the google-cdn signer makes the URLs of Google's samples", () => {
  test.each([
    ["http://35.186.234.33", "index.html", [], "/index.html?", "CRFqQnVfFyiUyR63OQf-HRUpIwc="],
    ["http://www.example.com", "", [], "/?", "OqDUFfHpN5Vxga6r80bhsgxKves="],
    [
      "http://www.example.com",
      "some/path",
      [
        ["some", "query"],
        ["another", "param"],
      ],
      "/some/path?some=query&another=param&",
      "9Q9TCxSju8-W5nUkk5CuTrun2_o=",
    ],
  ] as const)("%s/%s", async (baseUrl, key, attribution, start, signature) => {
    const url = await sign("google-cdn", { key, config: { baseUrl }, secret, window, attribution });
    expect(url).toBe(`${baseUrl}${start}Expires=1549751401&KeyName=my-key&Signature=${signature}`);
  });
});

/** Checks a signature as Cloud CDN does: over all that comes before the signature, exactly as it was sent. */
function isValid(signed: string, signature: string | undefined): boolean {
  const mac = createHmac("sha1", Buffer.from(secret.key, "base64url")).update(signed).digest("base64");
  return mac.replaceAll("+", "-").replaceAll("/", "_") === signature;
}

test("the google-cdn signer's URLs verify for every object key, in the forms url and prefix", async () => {
  for (const key of objectKeys) {
    const attribution = [["repository", "acme/app"]] as const;
    const config = { baseUrl: "https://cdn.test" };
    const url = await sign("google-cdn", { key, config, secret, attribution });
    const [signed = "", signature] = url.split("&Signature=");
    expect(isValid(signed, signature), key).toBe(true);
    expect(isValid(signed.replace("/data", "/date"), signature)).toBe(false);

    const prefixed = await sign("google-cdn", { key, config: { ...config, form: "prefix" }, secret, attribution });
    const [start = "", prefix = "", ends = "", proof = "", own] = prefixed.split(
      /\?URLPrefix=|&(?=Expires)|&Signature=|&(?=repository)/,
    );
    expect(Buffer.from(prefix, "base64url").toString()).toBe(start);
    expect([isValid(`URLPrefix=${prefix}&${ends}`, proof), own]).toEqual([true, "repository=acme%2Fapp"]);
  }
});
