import { generateKeyPairSync } from "node:crypto";
import * as v from "valibot";
import { expect, test } from "vitest";
import { rsaOrP256Key } from "../../src/signers/keys.ts";
import { pem } from "./samples.ts";

const parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";

test.each([
  ["RSA in PKCS#8", pem.pkcs8, "rsa"],
  ["RSA in PKCS#1", pem.pkcs1, "rsa"],
  ["P-256 in PKCS#8", pem.p256, "p256"],
  ["P-256 in SEC1", pem.sec1, "p256"],
  ["P-256 in SEC1 after its parameters, as OpenSSL writes it", parameters + pem.sec1, "p256"],
  ["a file with other line ends", pem.pkcs8.replaceAll("\n", "\r\n"), "rsa"],
])("rsaOrP256Key reads %s", async (_, text, kind) => {
  expect(await v.parseAsync(rsaOrP256Key, text)).toMatchObject({ kind });
});

const p384 = generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey;
const locked = { cipher: "aes-256-cbc", passphrase: "x" } as const;

test.each([
  ["another curve", p384.export({ type: "pkcs8", format: "pem" })],
  ["another curve in SEC1", p384.export({ type: "sec1", format: "pem" })],
  ["Ed25519", pem.ed25519],
  [
    "a key under a pass phrase",
    generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "pkcs8", format: "pem", ...locked }),
  ],
  [
    "a public key",
    generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey.export({ type: "spki", format: "pem" }),
  ],
  ["half a file", pem.pkcs8.slice(0, 400)],
  ["a key of the wrong label", pem.pkcs1.replaceAll("RSA ", "EC ")],
  ["nothing", ""],
])("rsaOrP256Key refuses %s, and the refusal does not show it", async (_, text) => {
  const parsed = await v.safeParseAsync(rsaOrP256Key, text.toString());
  expect(parsed.success).toBe(false);
  expect(parsed.issues?.map(({ message }) => message)).toEqual(["a key in PEM, RSA or P-256: PKCS#8, PKCS#1 or SEC1"]);
});
