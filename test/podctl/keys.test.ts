import { createHash, createPublicKey, generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compactVerify, importJWK, type JWK, SignJWT } from "jose";
import { afterAll, describe, expect, test } from "vitest";
import { type Env, parseConfig } from "../../src/config.ts";
import { generateSealingKeys, seal, unseal } from "../../src/directory/seal.ts";
import { importPublicKeys, type KidForm } from "../../src/podctl/keys/public-keys.ts";
import { publicSealingKey, rotateSecrets } from "../../src/podctl/keys/worker-secrets.ts";
import { selfSignedCertificate } from "../support/certificate.ts";
import { podctl } from "../support/podctl.ts";

const dir = mkdtempSync(join(tmpdir(), "registry-edge-keys-"));
afterAll(() => rmSync(dir, { recursive: true }));

const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const bundle = selfSignedCertificate(rsa) + selfSignedCertificate(ec) + selfSignedCertificate(rsa);
const imported = async (text: string, form: "libtrust" | "rfc7638" | "own" = "libtrust") => {
  const keys = await importPublicKeys(text, form);
  if (!keys.ok) throw new Error(keys.error);
  return keys.value;
};

/** RFC 7517 appendix A.1's RSA key; RFC 7638 §3.1 gives its thumbprint. */
const published: JWK = {
  kty: "RSA",
  n: "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
  e: "AQAB",
  alg: "RS256",
  kid: "2011-04-29",
};

describe("podctl keys import", () => {
  test("a certificate bundle gives each key once, with libtrust's kid, and the key verifies what its private half signs", async () => {
    writeFileSync(join(dir, "bundle.pem"), bundle);
    const { code, stdout } = await podctl(["keys", "import", join(dir, "bundle.pem")]);
    const lines = stdout.trimEnd().split("\n");
    expect([code, lines.length]).toEqual([0, 2]);
    const keys = lines.map((line) => JSON.parse(line.replace(/^- /, "")) as JWK);
    for (const [index, pair] of [rsa, ec].entries()) {
      // This is libtrust's rule, written without podctl's code: SHA-256 of the DER, the first 240 bits, base32, groups of four.
      const der = pair.publicKey.export({ type: "spki", format: "der" });
      const bits = BigInt(`0x${createHash("sha256").update(der).digest("hex").slice(0, 60)}`);
      const digits = bits.toString(32).padStart(48, "0");
      const base32 = digits.replace(
        /./g,
        (digit) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[Number.parseInt(digit, 32)] ?? "",
      );
      const [kid, alg] = [base32.match(/.{4}/g)?.join(":"), index === 0 ? "RS256" : "ES256"];
      expect(keys[index]).toMatchObject({ kid, alg, use: "sig" });
      const jwt = await new SignJWT({}).setProtectedHeader({ alg }).sign(pair.privateKey);
      await compactVerify(jwt, await importJWK(keys[index] ?? {}, alg));
    }
  });

  test("a folder in place of a file is named", async () => {
    const { code, stderr } = await podctl(["keys", "import", dir]);
    expect([code, stderr]).toEqual([1, `podctl: "${dir}" cannot be read: it is a folder; want PEM or JSON\n`]);
  });

  test("a JWK set gives the kid that the option asks for", async () => {
    const text = JSON.stringify({ keys: [published, { ...published, use: "enc", n: "AAAA" }] });
    expect(await imported(text, "rfc7638")).toMatchObject([{ kid: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" }]);
    expect(await imported(text, "own")).toMatchObject([{ kid: "2011-04-29", n: published.n }]);
    const pem = rsa.publicKey.export({ type: "spki", format: "pem" }) as string;
    expect(await imported(JSON.stringify(rsa.publicKey.export({ format: "jwk" })))).toEqual(await imported(pem));
  });

  test.each([
    ["a private key", rsa.privateKey.export({ type: "pkcs8", format: "pem" }) as string, "has a private key"],
    ["a private JWK", JSON.stringify(rsa.privateKey.export({ format: "jwk" })), "key 1 is private"],
    ["a shared secret", '{"keys":[{"kty":"oct","k":"AAAA"}]}', "key 1 is private"],
    ["an odd block", bundle.replaceAll("CERTIFICATE", "X509 CRL"), 'has a "X509 CRL"'],
    ["a bundle that is cut off", bundle.slice(0, -100), "is cut off: 3 certificates or keys begin in it, and 2 end"],
    ["a broken certificate", bundle.replace(/[A-Za-z0-9]{60}\n/, "\n"), "has a CERTIFICATE that cannot be read"],
    ["no key", "hello\n", "has no key"],
    ["an empty set", '{"keys":[]}', "has no key"],
    ["half a set", '{"keys":', "is not JSON"],
    ["a set of odd things", '{"keys":[7]}', "key 1 is not a public JWK"],
    ["a curve without an algorithm", ecPem("secp256k1"), 'key 1 is for "ec"'],
    ["a small key", rsaPem(1024), "key 1 has 1024 bits"],
    ["an exponent that the Worker cannot use", JSON.stringify({ ...published, e: "BQ" }), 'key 1 has the exponent "5"'],
    ["two keys of one kid", jwkSet(["one", ecJwk()], ["one", ecJwk()]), 'key 2 has the same kid "one"', "own"],
    ["a kid without a character", jwkSet(["", ecJwk()]), 'has no "kid"', "own"],
    ["an algorithm that signs no tokens", JSON.stringify({ ...published, alg: "RSA-OAEP" }), 'key 1 is for "RSA-OAEP"'],
  ])("%s is refused, and the error quotes none of it", async (_what, text, why, form = "libtrust") => {
    const keys = await importPublicKeys(text, form as KidForm);
    expect(keys).toEqual({ ok: false, error: expect.stringContaining(why) as string });
    if (!keys.ok) expect(keys.error.length).toBeLessThan(120);
  });

  test("the same key twice is imported once, and a byte order mark before a set is ignored", async () => {
    const key = ecJwk();
    expect(await importPublicKeys(`\uFEFF${jwkSet(["one", key], ["one", key])}`, "own")).toMatchObject({
      ok: true,
      value: [{ kid: "one" }],
    });
  });

  test("a set without kids is refused with `--kid own`", async () => {
    const { kid: _, ...rest } = published;
    expect(await importPublicKeys(JSON.stringify(rest), "own")).toMatchObject({ ok: false });
  });
});

const ecJwk = (): object => createPublicKey(ecPem("P-256")).export({ format: "jwk" });
const jwkSet = (...keys: readonly (readonly [kid: string, jwk: object])[]): string =>
  JSON.stringify({ keys: keys.map(([kid, jwk]) => ({ ...jwk, kid })) });

function ecPem(namedCurve: string): string {
  return generateKeyPairSync("ec", { namedCurve }).publicKey.export({ type: "spki", format: "pem" }) as string;
}

function rsaPem(modulusLength: number): string {
  return generateKeyPairSync("rsa", { modulusLength }).publicKey.export({ type: "spki", format: "pem" }) as string;
}

describe("podctl keys rotate", () => {
  const place = { pod: "pod-a", field: "blobs.stores.0.credentials", scheme: "s3", target: "bucket" };
  const configOf = (printed: string) =>
    parseConfig({ SERVICE: "s", ...(JSON.parse(printed) as object) } as unknown as Env);
  const publicKeyOf = async (printed: string) => {
    const key = await publicSealingKey(printed);
    return key.ok ? key.value : {};
  };

  test("puts a new key before the one in use: secrets sealed for either key open, and the next rotation drops the older key", async () => {
    const first = (await podctl(["keys", "generate"])).stdout;
    const rotated = await podctl(["keys", "rotate"], { input: first });
    expect([rotated.code, rotated.stderr]).toEqual([0, ""]);
    const config = configOf(rotated.stdout);
    expect([config.sealingKeys.length, config.edgeKeys.length]).toEqual([2, 2]);
    const [oldKey, newKey] = [await publicKeyOf(first), await publicKeyOf(rotated.stdout)];
    expect(config.sealingKeys[0]).toMatchObject({ x: newKey["x"] });
    expect(config.edgeKeys[1]).toEqual(configOf(first).edgeKeys[0]);
    const old = await seal("old", place, oldKey);
    expect(await unseal(old, place, config.sealingKeys)).toMatchObject({ ok: true });
    expect(JSON.parse(rotated.stdout)).toHaveProperty("PROBE_TOKEN", JSON.parse(first).PROBE_TOKEN);
    const third = await podctl(["keys", "rotate"], { input: rotated.stdout });
    expect(third.stderr).toContain("SEALING_KEYS held two keys");
    const { sealingKeys } = configOf(third.stdout);
    expect(await unseal(old, place, sealingKeys)).toMatchObject({ ok: false });
    expect(await unseal(await seal("new", place, newKey), place, sealingKeys)).toMatchObject({ ok: true });
  });

  test("takes a sealing key without a kid, and `keys public` prints its thumbprint as kid", async () => {
    const { privateJwk } = await generateSealingKeys();
    const { kid, ...unnamed } = privateJwk;
    const secrets = JSON.stringify({ SEALING_KEYS: JSON.stringify([unnamed]) });
    const rotated = await rotateSecrets(secrets);
    expect(rotated.ok && JSON.parse(rotated.value.secrets["SEALING_KEYS"] ?? "")).toEqual([
      expect.objectContaining({ kid: expect.any(String) as string }),
      unnamed,
    ]);
    expect(await publicKeyOf(secrets)).toHaveProperty("kid", kid);
  });

  test("rotates only the list that is given", async () => {
    const rotated = await rotateSecrets(JSON.stringify({ EDGE_KEYS: JSON.stringify(["A".repeat(43)]) }));
    expect(rotated).toMatchObject({ ok: true, value: { dropped: [] } });
    expect(rotated.ok && Object.keys(rotated.value.secrets)).toEqual(["EDGE_KEYS"]);
  });

  test.each([
    ["nothing", "", "standard input is not"],
    ["a list that is not JSON", '{"EDGE_KEYS":"secret"}', '"EDGE_KEYS" on standard input is not'],
    [
      "three keys",
      JSON.stringify({ EDGE_KEYS: JSON.stringify(Array(3).fill("B".repeat(43))) }),
      '"EDGE_KEYS" on standard input is not',
    ],
    ["public keys", '{"SEALING_KEYS":"[{\\"kty\\":\\"EC\\"}]"}', "is not"],
    ["a value that is not a string", '{"PROBE_TOKEN":{}}', '"PROBE_TOKEN" on standard input is not'],
    ["neither of the two lists", "{}", "neither"],
  ])("refuses %s, and the error quotes none of it", async (_what, text, why) => {
    const rotated = await rotateSecrets(text);
    expect(rotated).toEqual({ ok: false, error: expect.stringContaining(why) as string });
    expect(JSON.stringify(rotated)).not.toContain("BBB");
  });
});

describe("podctl keys generate", () => {
  test("prints the secrets of the Worker, all of them strings that the Worker accepts", async () => {
    const { stdout, stderr } = await podctl(["keys", "generate"]);
    const generated = JSON.parse(stdout) as Record<string, unknown>;
    expect(Object.values(generated).map((value) => typeof value)).toEqual(["string", "string", "string"]);
    const config = parseConfig({ SERVICE: "s", ...generated } as unknown as Env);
    expect([config.sealingKeys.length, config.edgeKeys.length]).toEqual([1, 1]);
    expect(config.probeToken).toBe(generated["PROBE_TOKEN"]);
    expect(stderr).toBe("");
  });
});

describe("podctl keys public", () => {
  test("prints only the public members of the sealing key in use", async () => {
    const { privateJwk, publicJwk } = await generateSealingKeys();
    const older = (await generateSealingKeys()).privateJwk;
    expect(await publicSealingKey(JSON.stringify({ SEALING_KEYS: JSON.stringify([privateJwk, older]) }))).toEqual({
      ok: true,
      value: publicJwk,
    });
  });

  test("refuses secrets without a sealing key", async () => {
    const error = expect.stringContaining("no SEALING_KEYS") as string;
    expect(await publicSealingKey("{}")).toEqual({ ok: false, error });
  });
});
