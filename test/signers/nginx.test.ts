import { createHash, createHmac } from "node:crypto";
import { describe, expect, test } from "vitest";
import { objectKeys } from "./object-keys.ts";
import { expiresSeconds, sign } from "./sign.ts";

const baseUrl = "https://blobs.test";
const secret = { secret: "an nginx secret" };
const queryOf = (url: string) => Object.fromEntries(new URL(url).searchParams);

describe("the nginx signer's URL has the digest that Node's crypto makes", () => {
  test("of the expression in nginx's manual, by MD5 over the unescaped path", async () => {
    for (const key of objectKeys) {
      const md5 = createHash("md5").update(`${expiresSeconds}/${key} an nginx secret`).digest("base64url");
      const url = await sign("nginx", { key, config: { baseUrl }, secret });
      expect(queryOf(url), key).toEqual({ md5, expires: String(expiresSeconds) });
    }
  });

  test("of a configured expression and parameters, by HMAC", async () => {
    const form = {
      algorithm: "hmac-sha256",
      expression: "$uri|$expires",
      signatureParameter: "st",
      expiresParameter: "e",
    };
    for (const key of objectKeys) {
      const st = createHmac("sha256", secret.secret).update(`/${key}|${expiresSeconds}`).digest("base64url");
      const url = await sign("nginx", { key, config: { baseUrl, ...form }, secret });
      expect(queryOf(url), key).toEqual({ st, e: String(expiresSeconds) });
    }
  });
});

test.each(["$uri $secret", "$expires $secret", "", "$expires$uri"])(
  "the nginx signer refuses an expression that leaves out what it must sign: %j",
  async (expression) => {
    await expect(sign("nginx", { config: { baseUrl, expression }, secret })).rejects.toThrow(
      /Invalid content|MD5 without a secret/,
    );
  },
);
