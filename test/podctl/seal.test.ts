import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { type Env, parseConfig } from "../../src/config.ts";
import { unseal } from "../../src/directory/seal.ts";
import { podctl } from "../support/podctl.ts";

const dir = mkdtempSync(join(tmpdir(), "registry-edge-cli-"));
afterAll(() => rmSync(dir, { recursive: true }));

const place = { pod: "pod-a", field: "blobs.stores.0.credentials", scheme: "s3", target: "bucket" };
const flags = Object.entries(place).flatMap(([name, value]) => [`--${name}`, value]);
const secret = '{"accessKeyId":"id","secretAccessKey":"key"}';

test("generated keys are what the Worker takes, and a sealed secret opens with them in its place alone", async () => {
  const generated = JSON.parse((await podctl(["keys", "generate"])).stdout) as Record<string, unknown>;
  const config = parseConfig({ SERVICE: "s", ...generated } as unknown as Env);
  const key = join(dir, "public.jwk");
  writeFileSync(key, JSON.stringify(generated["sealingPublicKey"]));
  const { stdout, code } = await podctl(["seal", ...flags, "--key", key], { input: `${secret}\n` });
  expect(code).toBe(0);
  expect(await unseal(stdout.trim(), place, config.sealingKeys)).toEqual({ ok: true, value: secret });
  expect(await unseal(stdout.trim(), { ...place, pod: "pod-b" }, config.sealingKeys)).toMatchObject({ ok: false });
});

test("what cannot be sealed is said without the secret", async () => {
  const key = join(dir, "private.jwk");
  const [privateJwk] = JSON.parse(
    (JSON.parse((await podctl(["keys", "generate"])).stdout) as { SEALING_KEYS: string }).SEALING_KEYS,
  ) as object[];
  writeFileSync(key, JSON.stringify(privateJwk));
  const { code, stderr } = await podctl(["seal", ...flags, "--key", key], { input: secret });
  expect([code, stderr]).toEqual([1, `podctl: key "${key}" is private; want the public one, without "d"\n`]);
  const empty = await podctl(["seal", ...flags, "--key", key]);
  expect([empty.code, empty.stderr]).toEqual([1, "podctl: standard input is empty; want the secret to seal\n"]);
});

test("a secret that its scheme could not use is refused, unshown", async () => {
  const seal = (scheme: string, input: object | string) => {
    const text = typeof input === "string" ? input : JSON.stringify(input);
    return podctl(["seal", ...flags, "--scheme", scheme, "--key", "none.jwk"], { input: text });
  };
  const wrong = await Promise.all([
    seal("s3", { accessKeyId: "id", secret: "hush" }),
    seal("s3", "hush"),
    seal("cloudfront", { keyPairId: "K1", privateKey: "hush" }),
    seal("public", { key: "hush" }),
  ]);
  expect(wrong.map(({ code, stderr }) => [code, stderr])).toEqual([
    [1, 'podctl: the secret on standard input is wrong at "secretAccessKey": want "secretAccessKey"\n'],
    [1, "podctl: the secret on standard input is wrong: want Object\n"],
    [
      1,
      'podctl: the secret on standard input is wrong at "privateKey": want a key in PEM, RSA or P-256: PKCS#8, PKCS#1 or SEC1\n',
    ],
    [1, 'podctl: the secret on standard input is not needed: scheme "public" has no secret\n'],
  ]);
});
