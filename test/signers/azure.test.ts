import { expect, test } from "vitest";
import { parseSecret } from "../../src/signers/index.ts";
import { samples } from "./samples.ts";
import { sign, textToSign } from "./sign.ts";

const config = { endpoint: "https://poda.blob.core.windows.net", account: "poda", container: "registry" };
const accountKey = Buffer.from("an account's key").toString("base64");

test("a URL below the legacy root has two slashes after the container, and both are signed", async () => {
  const given = { key: "/docker/registry/v2/a", config: { ...config, legacyRoot: true }, secret: { accountKey } };
  const url = await sign("azure", given);
  expect(url).toMatch(/^https:\/\/poda\.blob\.core\.windows\.net\/registry\/\/docker\/registry\/v2\/a\?/);
  expect(await textToSign("azure", given)).toContain("\n/blob/poda/registry//docker/registry/v2/a\n");
});

test("an emulator's URL has the account in its path, which is not signed, and may be plain HTTP", async () => {
  const emulator = { ...config, endpoint: "http://127.0.0.1:10000", addressing: "path" };
  const url = new URL(await sign("azure", { key: "a/b", config: emulator, secret: { accountKey } }));
  expect([url.pathname, url.searchParams.get("spr")]).toEqual(["/poda/registry/a/b", "https,http"]);
});

test.each(["signedStartsOn", "signedExpiresOn"])(
  "a delegation key whose %s is a form of ISO 8601 that JavaScript does not read is refused",
  async (member) => {
    const secret = samples.azure[1]?.secret as { readonly userDelegationKey: object };
    const userDelegationKey = { ...secret.userDelegationKey, [member]: "2066-11-28T00:00:00+00" };
    expect((await parseSecret("azure", JSON.stringify({ userDelegationKey }))).ok).toBe(false);
  },
);

test.each([
  ["2066-11-24T00:00:00Z", "2066-11-24T00:00:00Z"],
  ["2067-01-01T00:00:00Z", "2066-11-28T00:00:00Z"],
])("a delegation key whose secret expires at %s ends at %s, no later than the key itself", async (expiresAt, end) => {
  const parsed = await parseSecret("azure", JSON.stringify({ ...samples.azure[1]?.secret, expiresAt }));
  expect(parsed).toMatchObject({ ok: true, value: { expiresAt: new Date(end) } });
});
