import { createHash, createHmac, createPublicKey, verify } from "node:crypto";
import { expect, test } from "vitest";
import { objectKeys } from "./object-keys.ts";
import { pem } from "./samples.ts";
import { sign } from "./sign.ts";

const client_email = "edge@project.iam.gserviceaccount.com";

/** Builds the text to sign without the signer's code, as Google's page "V4 signing process with your own program" describes it. */
function signedText(
  method: string,
  url: string,
): { readonly text: string; readonly scope: string; readonly signature: string } {
  const { pathname, search, searchParams } = new URL(url);
  const query = search.slice(1).replace(/&X-Goog-Signature=.*/, "");
  const canonical = `${method}\n${pathname}\n${query}\nhost:storage.googleapis.com\n\nhost\nUNSIGNED-PAYLOAD`;
  const scope = searchParams.get("X-Goog-Credential")?.split("/").slice(1).join("/") ?? "";
  const digest = createHash("sha256").update(canonical).digest("hex");
  const text = `${searchParams.get("X-Goog-Algorithm")}\n20661123T100000Z\n${scope}\n${digest}`;
  return { text, scope, signature: searchParams.get("X-Goog-Signature") ?? "" };
}

test("the gcs signer signs the method, GET or HEAD, by an RSA key", async () => {
  const publicKey = createPublicKey(pem.pkcs8);
  for (const key of objectKeys) {
    const secret = { client_email, private_key: pem.pkcs8 };
    const url = await sign("gcs", { key, method: "HEAD", config: { bucket: "pod-a" }, secret });
    const verifies = (method: string) => {
      const { text, signature } = signedText(method, url);
      return verify("sha256", Buffer.from(text), publicKey, Buffer.from(signature, "hex"));
    };
    expect([verifies("HEAD"), verifies("GET")], key).toEqual([true, false]);
  }
});

test("the gcs signer signs with the key that Google's chain of HMACs derives from an HMAC key", async () => {
  const secret = { accessId: "GOOG1EXAMPLE", secret: "secret" };
  const hmac = (key: string | Buffer, text: string) => createHmac("sha256", key).update(text).digest();
  for (const method of ["GET", "HEAD"] as const) {
    for (const key of objectKeys) {
      const url = await sign("gcs", { key, method, config: { bucket: "pod-a", location: "eu" }, secret });
      const { text, scope, signature } = signedText(method, url);
      expect(scope).toBe("20661123/eu/storage/goog4_request");
      const signingKey = scope.split("/").reduce<string | Buffer>(hmac, "GOOG4secret");
      expect(signature, key).toBe(hmac(signingKey, text).toString("hex"));
      expect(new URL(url).search).toContain(
        "?X-Goog-Algorithm=GOOG4-HMAC-SHA256&X-Goog-Credential=GOOG1EXAMPLE%2F20661123%2Feu%2Fstorage%2Fgoog4_request" +
          "&X-Goog-Date=20661123T100000Z&X-Goog-Expires=1200&X-Goog-SignedHeaders=host&X-Goog-Signature=",
      );
    }
  }
});
