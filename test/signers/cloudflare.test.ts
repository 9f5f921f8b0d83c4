import { createHmac } from "node:crypto";
import { describe, expect, test } from "vitest";
import { objectKeys } from "./object-keys.ts";
import { expiresSeconds, sign } from "./sign.ts";

const secret = { key: "a literal of the rule" };
const ttlSeconds = 900;

/**
 * Does what Cloudflare documents for `is_timed_hmac_valid_v0`, the function that the WAF rule calls. A URI is the message, the separator, ten digits,
 * a hyphen and the MAC.
 */
function isTimedHmacValid(uri: string, separator: string, now: number, flags: "" | "s"): boolean {
  const found = /^(.+)(\d{10})-(.{43,})$/.exec(uri);
  const message = found?.[1]?.slice(0, -separator.length) ?? "";
  if (found === null || !found[1]?.endsWith(separator)) return false;
  const mac = createHmac("sha256", secret.key).update(message + found[2]);
  const expected = flags === "s" ? mac.digest("base64url") : encodeURIComponent(mac.digest("base64"));
  return expected === found[3] && now < Number(found[2]) + ttlSeconds;
}

describe.each([
  ["base64", ""],
  ["base64url", "s"],
] as const)("the cloudflare signer's token in %s", (encoding, flags) => {
  test("is valid for the rule until the URL ends, for every object key", async () => {
    for (const key of objectKeys) {
      const config = { baseUrl: "https://cdn.test", ttlSeconds, encoding };
      const uri = (await sign("cloudflare", { key, config, secret })).slice("https://cdn.test".length);
      const check = (changed: string, now = expiresSeconds - 1) => isTimedHmacValid(changed, "?verify=", now, flags);
      expect([check(uri), check(uri, expiresSeconds)], key).toEqual([true, false]);
      expect([check(uri.replace("/data", "/date")), check(uri.replace(/\d{10}-/, `${expiresSeconds}-`))]).toEqual([
        false,
        false,
      ]);
    }
  });
});

test("the cloudflare signer puts attribution before the token and signs it, and names its parameter as the rule does", async () => {
  const config = { baseUrl: "https://cdn.test", ttlSeconds, parameter: "token_" };
  const attribution = [["repository", "acme/app"]] as const;
  const uri = (await sign("cloudflare", { config, secret, attribution })).slice("https://cdn.test".length);
  expect(uri).toMatch(/^\/a\/b\?repository=acme%2Fapp&token_=/);
  expect(isTimedHmacValid(uri, "&token_=", expiresSeconds - 1, "")).toBe(true);
});
