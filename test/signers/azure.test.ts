import { expect, test } from "vitest";
import { sign } from "./sign.ts";

const config = { endpoint: "https://poda.blob.core.windows.net", account: "poda", container: "registry" };
const accountKey = Buffer.from("an account's key").toString("base64");

test("an emulator's URL has the account in its path, which is not signed, and may be plain HTTP", async () => {
  const emulator = { ...config, endpoint: "http://127.0.0.1:10000", addressing: "path" };
  const url = new URL(await sign("azure", { key: "a/b", config: emulator, secret: { accountKey } }));
  expect([url.pathname, url.searchParams.get("spr")]).toEqual(["/poda/registry/a/b", "https,http"]);
});
