import { hkdfSync } from "node:crypto";
import { expect, test } from "vitest";
import { utf8 } from "../../src/lib/bytes.ts";
import { deriveAesKey } from "../../src/lib/derive-key.ts";

const edgeKey = crypto.getRandomValues(new Uint8Array(32));
const iv = new Uint8Array(12);

test("a derived key is HKDF-SHA-256 of the edge key and the label, as another implementation computes it", async () => {
  const other = await crypto.subtle.importKey(
    "raw",
    new Uint8Array(hkdfSync("sha256", edgeKey, "", "upload-pin", 32)),
    "AES-GCM",
    false,
    ["encrypt"],
  );
  const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv }, other, utf8("text"));
  const opened = await crypto.subtle.decrypt(
    { name: "AES-GCM", iv },
    await deriveAesKey(edgeKey, "upload-pin"),
    sealed,
  );
  expect(new Uint8Array(opened)).toEqual(utf8("text"));
});

test("what is sealed under one label does not open under another", async () => {
  const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv }, await deriveAesKey(edgeKey, "one"), utf8("text"));
  await expect(
    deriveAesKey(edgeKey, "other").then((key) => crypto.subtle.decrypt({ name: "AES-GCM", iv }, key, sealed)),
  ).rejects.toThrow();
});
