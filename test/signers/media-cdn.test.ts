import { createPublicKey, verify } from "node:crypto";
import { describe, expect, test } from "vitest";
import { objectKeys } from "./object-keys.ts";
import { pem } from "./samples.ts";
import { sign } from "./sign.ts";

const until = (seconds: number) => ({ issuedAt: new Date(0), expiresAt: new Date(seconds * 1000) });

describe("the media-cdn signer makes the URLs of Google's samples", () => {
  const secret = { keyName: "my-key", privateKey: "BxwXXNjeGaoWqjr7GHEymRJkP4SaOC12dTGixk7Yr8I=" };
  const own = [
    ["some", "query"],
    ["another", "param"],
  ] as const;
  const ends = "Expires=1650848400&KeyName=my-key&Signature=";

  test.each([
    [
      "http://35.186.234.33",
      "index.html",
      "url",
      [],
      `/index.html?${ends}16-oE9GZ5U9S_LYrW8RplZhvMfI7RGtGRY0C-Ahh6YAwiJ0UaEi6rQuPxfm6R-cBPfs8MwRGiu2fAoS1JOoKCA==`,
    ],
    [
      "http://www.example.com",
      "",
      "url",
      [],
      `/?${ends}QhWcq48iCRTJFayWexw929QRxjOxE8ZPSQ38ybTxLhu77hmS_JB6GSougMu_-ejS_ZiGguqxT-HfgSFuy3f5DQ==`,
    ],
    [
      "http://www.example.com",
      "some/path",
      "url",
      own,
      `/some/path?some=query&another=param&${ends}Li_D6rxUh1Kj54JbmUuAms2wmjJHJUcMXJHgYxjL4LqYH02wSX-4gCayXgklNSDpfBfSHnbdC_wvcdyXvADGDw==`,
    ],
    [
      "http://www.example.com",
      "",
      "prefix",
      [],
      `/?URLPrefix=aHR0cDovL3d3dy5leGFtcGxlLmNvbS8=&${ends}gFGKa4T8Fn1GiTMp1VBd6sSfjRKcPEgTB1k8mn48yXyzg4-Dfbrk-HJeYFGFznZvkF_eSPg1K03hqbMDkFTiAg==`,
    ],
  ] as const)("%s/%s as %s", async (baseUrl, key, form, attribution, end) => {
    const config = { baseUrl, form };
    const url = await sign("media-cdn", { key, config, secret, window: until(1650848400), attribution });
    expect(url).toBe(baseUrl + end);
  });

  test("with a short token", async () => {
    const url = await sign("media-cdn", {
      key: "example.m3u8",
      config: { baseUrl: "https://media.test", form: "token", parameter: "hdnts" },
      secret: { keyName: "my-key", privateKey: "DJUcnLguVFKmVCFnWGubG1MZg7fWAnxacMjKDhVZMGI=" },
      window: until(1663070400),
    });
    const signature = "X74OTNjtseIUmsab-YiOTZ8jyX_KG7v4YQWwcFpfFmjhzaX8NdweMc9Wglj8wxEsEW85g3_MBG3T9jzLZFQDCw";
    expect(url).toBe(`https://media.test/example.m3u8?hdnts=FullPath~Expires=1663070400~Signature=${signature}`);
  });
});

test("the media-cdn signer's URLs verify for every object key, in the forms url, prefix and token", async () => {
  const secret = { keyName: "my-key", privateKey: pem.ed25519 };
  const publicKey = createPublicKey(pem.ed25519);
  const isValid = (text: string, signature = "") =>
    verify(null, Buffer.from(text), publicKey, Buffer.from(signature, "base64url"));
  const config = { baseUrl: "https://media.test" };
  for (const key of objectKeys) {
    const [signed = "", signature] = (await sign("media-cdn", { key, config, secret })).split("&Signature=");
    expect([isValid(signed, signature), isValid(signed.replace("/data", "/date"), signature)]).toEqual([true, false]);

    const prefixed = await sign("media-cdn", { key, config: { ...config, form: "prefix" }, secret });
    const [url, prefix = "", proof] = prefixed.split(/\?|&Signature=/);
    expect(isValid(prefix, proof)).toBe(true);
    expect(Buffer.from(prefix.split(/[=&]/)[1] ?? "", "base64url").toString()).toBe(url);

    const form = { ...config, form: "token" };
    const token = await sign("media-cdn", { key, config: form, secret });
    const [path, expires, tokenProof] = token
      .slice(config.baseUrl.length)
      .split(/\?edge-cache-token=FullPath~|~Signature=/);
    expect(isValid(`FullPath=${path}~${expires}`, tokenProof), key).toBe(true);
  }
});
