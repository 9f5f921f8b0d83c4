import { generateKeyPairSync } from "node:crypto";
import { expect, test } from "vitest";
import { parseTopology } from "../../src/topology/load.ts";
import { formatMistake } from "../../src/topology/mistake.ts";
import { keyOf, podText, production } from "../support/topologies.ts";

const base64url = (bytes: number) => Buffer.alloc(bytes, 0xff).toString("base64url");
const rsa = { ...keyOf("k") };
const ec = { kty: "EC", kid: "k", alg: "ES256", crv: "P-256", x: base64url(32), y: base64url(32) };
const importAgain = "import the key again by `podctl keys import`";

/** Returns the mistakes of a topology whose third line is a Pod with this key. */
function mistakesOf(key: object): readonly string[] {
  const text = `\npods:\n  pod-a: ${podText("pod-a", { keys: [key] })}`;
  const topology = parseTopology("topology.yaml", text, { ...production, placeholders: null });
  return topology.ok ? [] : topology.error.map(formatMistake);
}

test.each<[string, object, string]>([
  ["without an exponent", { ...rsa, e: undefined }, `.e: is missing; ${importAgain}`],
  ["without a coordinate", { ...ec, y: undefined }, `.y: is missing; ${importAgain}`],
  ["whose modulus is a number", { ...rsa, n: 7 }, `.n: 7 is not base64url; ${importAgain}`],
  ["whose exponent is padded", { ...rsa, e: "AQAB==" }, `.e: "AQAB==" is not base64url; ${importAgain}`],
  ["of 2,040 bits", { ...rsa, n: base64url(255) }, ": has 2040 bits; want at least 2048"],
  ["of 16,392 bits", { ...rsa, n: base64url(2_049) }, ": has 16392 bits; want at most 16384"],
  ["whose exponent is 5", { ...rsa, e: "BQ" }, ': has the exponent "5", which the Worker cannot use; want a key whose'],
  ["whose exponent has nine bytes", { ...rsa, e: "AQAAAAAAAAAB" }, ': has the exponent "18446744073709551617", which'],
  ["for another algorithm", { ...rsa, alg: "ES256" }, '.alg: "ES256" does not fit this key; want RS256 or RS384'],
  ["of an unknown curve", { ...ec, crv: "toString" }, '.crv: "toString" is wrong; want a key for RSA, P-256'],
  ["whose point is not on its curve", ec, `: is not a public key; ${importAgain}`],
  ["of one kind with a curve of another", { ...ec, kty: "OKP" }, `: is not a public key; ${importAgain}`],
  ["of 31 bytes", { ...ec, kty: "OKP", alg: "EdDSA", crv: "Ed25519", x: base64url(31) }, ": is not a public key"],
])("podctl refuses a public key %s, because the Worker cannot import it", (_, key, text) => {
  const mistakes = mistakesOf(key);
  expect(mistakes).toHaveLength(1);
  expect(mistakes[0]).toMatch(/^topology\.yaml:3:\d+: pods\.pod-a\.keys\[0\]/);
  expect(mistakes[0]).toContain(`keys[0]${text}`);
});

test("podctl accepts RSA keys with the exponents 65537 and 3, and keys of each curve", () => {
  const made = ["P-256", "P-384", "P-521"].map((namedCurve) => generateKeyPairSync("ec", { namedCurve }));
  const keys = [...made, generateKeyPairSync("ed25519")].map(({ publicKey }) => publicKey.export({ format: "jwk" }));
  const algorithms = ["ES256", "ES384", "ES512", "EdDSA"];
  for (const [index, alg] of algorithms.entries()) expect(mistakesOf({ ...keys[index], kid: "k", alg })).toEqual([]);
  for (const e of ["AQAB", "Aw"]) expect(mistakesOf({ ...rsa, e })).toEqual([]);
});

test("a key of too many bits does not make the next import of another key fail", async () => {
  expect(mistakesOf({ ...rsa, n: base64url(2_049) })).toHaveLength(1);
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const der = privateKey.export({ type: "pkcs8", format: "der" });
  const algorithm = { name: "ECDSA", namedCurve: "P-256" };
  expect((await crypto.subtle.importKey("pkcs8", der, algorithm, false, ["sign"])).type).toBe("private");
});
