import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { type Env, parseConfig } from "../../src/config.ts";
import { unseal } from "../../src/directory/seal.ts";
import { sealedPlace } from "../../src/podctl/keys/sealed-place.ts";
import { generateSecrets } from "../../src/podctl/keys/worker-secrets.ts";
import { podctl } from "../support/podctl.ts";

const dir = mkdtempSync(join(tmpdir(), "registry-edge-cli-"));
afterAll(() => rmSync(dir, { recursive: true }));

const topology = `pods:
  pod-a:
    registry: https://registry.pod-a.example.com
    trust: { kind: header, name: X-Edge-Secret }
    blobs:
      stores:
        - { scheme: s3, endpoint: "https://s3.example.com", region: eu-1, bucket: pod-a-blobs }
        - { scheme: cloudfront, baseUrl: "https://cdn.example.net" }
        - { scheme: public, baseUrl: "https://mirror.example.net" }
        - { scheme: s3, endpoint: "https://s3.example.com", bucket: pod-a-blobs }
        - { scheme: ftp }
        - { scheme: s3, endpoint: "https://s3.example.com", region: eu-1, bucket: near, when: { cloud: aws, region: eu-1 } }
    gateway: { url: "https://uploads.pod-a.example.com" }
  pod-b: { registry: "https://registry.pod-b.example.com", trust: { kind: access, clientId: edge } }
`;
const file = join(dir, "topology.yaml");
writeFileSync(file, topology);
const store = "blobs.stores.0.credentials";
const secret = '{"accessKeyId":"id","secretAccessKey":"key"}';
const { sealingKeys } = parseConfig({ SERVICE: "s", ...(await generateSecrets()) } as unknown as Env);
const privateKey = sealingKeys[0] ?? {};
const { d: _, ...publicKey } = privateKey as { readonly d?: string };
writeFileSync(join(dir, "sealing.jwk"), JSON.stringify(publicKey));

describe("podctl seal", () => {
  test("a sealed secret opens with the Worker's keys, in its place only", async () => {
    const { stdout, code } = await podctl(["seal", file, "pod-a", store], { input: `${secret}\n` });
    expect(code).toBe(0);
    const place = { pod: "pod-a", field: store, scheme: "s3", target: "pod-a-blobs" };
    expect(await unseal(stdout.trim(), place, sealingKeys)).toEqual({ ok: true, value: secret });
    expect(await unseal(stdout.trim(), { ...place, pod: "pod-b" }, sealingKeys)).toMatchObject({ ok: false });
  });

  test("what cannot be sealed is refused without showing the secret", async () => {
    const key = join(dir, "private.jwk");
    writeFileSync(key, JSON.stringify(privateKey));
    const { code, stderr } = await podctl(["seal", file, "pod-a", store, "--key", key], { input: secret });
    expect([code, stderr]).toEqual([1, `podctl: key "${key}" is private; want the public one, without "d"\n`]);
    const broken = join(dir, "broken.jwk");
    writeFileSync(broken, JSON.stringify({ ...publicKey, x: "AAAA" }));
    const unusable = await podctl(["seal", file, "pod-a", store, "--key", broken], { input: secret });
    const wanted = `podctl: key "${broken}" is not a JWK of an EC key on P-256 with a "kid"; \`podctl keys public\` prints one\n`;
    expect([unusable.code, unusable.stderr]).toEqual([1, wanted]);
    writeFileSync(broken, JSON.stringify({ ...publicKey, kid: undefined }));
    expect((await podctl(["seal", file, "pod-a", store, "--key", broken], { input: secret })).stderr).toBe(wanted);
    const empty = await podctl(["seal", file, "pod-a", store]);
    expect([empty.code, empty.stderr]).toEqual([1, "podctl: standard input is empty; want the secret to seal\n"]);
  });

  test("a folder in place of a file is named", async () => {
    const [topologyFile, key] = await Promise.all([
      podctl(["seal", dir, "pod-a", store], { input: secret }),
      podctl(["seal", file, "pod-a", store, "--key", dir], { input: secret }),
    ]);
    expect([topologyFile.stderr, key.stderr]).toEqual([
      `podctl: "${dir}" cannot be read: it is a folder; want a topology file\n`,
      `podctl: "${dir}" cannot be read: it is a folder; want the public key, which \`podctl keys public\` prints\n`,
    ]);
  });

  test("a secret that its scheme cannot use is refused and not shown", async () => {
    const seal = (field: string, input: object | string) =>
      podctl(["seal", file, "pod-a", field], { input: typeof input === "string" ? input : JSON.stringify(input) });
    const wrong = await Promise.all([
      seal(store, { accessKeyId: "id", secret: "hush" }),
      seal(store, "hush"),
      seal(store, { accessKeyId: "id", secretAccessKey: "key", expiresAt: "hush" }),
      seal(store, { accessKeyId: "id", secretAccessKey: "key", expiresAt: "2020-01-01T00:00:00Z" }),
      seal(store, { accessKeyId: "id", secretAccessKey: "key", sessionToken: "hush" }),
      seal("blobs.stores.1.credentials", { keyPairId: "K1", privateKey: "hush" }),
      seal("blobs.stores.2.credentials", { key: "hush" }),
      seal("gateway.key", "hush"),
    ]);
    expect(wrong.map(({ code, stderr }) => [code, stderr])).toEqual([
      [1, 'podctl: the secret on standard input has no "secretAccessKey"\n'],
      [1, "podctl: the secret on standard input is wrong: want Object\n"],
      [1, 'podctl: the secret on standard input is wrong at "expiresAt": want timestamp\n'],
      [
        1,
        "podctl: the secret on standard input expires at 2020-01-01T00:00:00.000Z; want one that is valid for more than 20 minutes from now\n",
      ],
      [1, "podctl: the secret on standard input is wrong: want `expiresAt` beside `sessionToken`\n"],
      [
        1,
        'podctl: the secret on standard input is wrong at "privateKey": want a key in PEM, RSA or P-256: PKCS#8, PKCS#1 or SEC1\n',
      ],
      [
        1,
        `podctl: "${file}" cannot take it: pods.pod-a.blobs.stores[2] has scheme "public", which has no credentials\n`,
      ],
      [
        1,
        "podctl: the secret on standard input is not a gateway's key; want one or two keys of 32 bytes in base64, separated by a comma\n",
      ],
    ]);
  });
});

describe("podctl seal and the secret of `trust`", () => {
  const sealTrust = (input: string | Uint8Array, [pod, field] = ["pod-a", "trust.value"]) =>
    podctl(["seal", file, pod, field], { input });

  test("a secret that no header can carry is refused and not shown", async () => {
    const runs = await Promise.all([
      sealTrust("HUSH\nHUSH"),
      sealTrust("HUSH€", ["pod-b", "trust.clientSecret"]),
      sealTrust("HUSH".repeat(15_000)),
      sealTrust(Buffer.from([0x48, 0x55, 0x53, 0x48, 0xff])),
    ]);
    const cannotBeSent =
      "podctl: the secret on standard input cannot be sent as a header; want one line of 1 to 4096 ASCII characters\n";
    expect(runs.map(({ stdout, stderr }) => [stdout, stderr])).toEqual([
      ...[1, 2, 3].map(() => ["", cannotBeSent]),
      ["", "podctl: the secret on standard input is not UTF-8; want text\n"],
    ]);
    expect(runs.map(({ code }) => code)).toEqual([1, 1, 1, 1]);
  });

  test("a line break at the end is not a part of the secret", async () => {
    const { stdout } = await sealTrust("a secret with spaces\r\n");
    const place = {
      pod: "pod-a",
      field: "trust.value",
      scheme: "header",
      target: "https://registry.pod-a.example.com",
    };
    expect(await unseal(stdout.trim(), place, sealingKeys)).toEqual({ ok: true, value: "a secret with spaces" });
  });
});

describe("the place that podctl seal reads from a topology file", () => {
  test.each([
    ["pod-a", store, "s3", "pod-a-blobs"],
    ["pod-a", "blobs.stores[0].credentials", "s3", "pod-a-blobs"],
    ["pod-a", "blobs.stores.1.credentials", "cloudfront", "https://cdn.example.net"],
    ["pod-a", "blobs.stores.5.credentials", "s3", "near"],
    ["pod-a", "gateway.key", "gateway", "https://uploads.pod-a.example.com"],
    ["pod-a", "trust.value", "header", "https://registry.pod-a.example.com"],
    ["pod-b", "trust.clientSecret", "access", "https://registry.pod-b.example.com"],
  ])("has the scheme and target of %s %s", (pod, field, scheme, target) => {
    const dotted = field.replace("[0]", ".0");
    expect(sealedPlace(topology, { pod, field })).toEqual({ ok: true, value: { pod, field: dotted, scheme, target } });
  });

  test.each([
    ["a Pod that is not there", "pod-c", store, 'has no Pod "pod-c"; its Pods are pod-a, pod-b'],
    ["a store that is not there", "pod-b", store, "pods.pod-b.blobs.stores[0] has no known scheme; want one of s3,"],
    ["an unknown scheme", "pod-a", "blobs.stores.4.credentials", "blobs.stores[4] has no known scheme"],
    ["an index that no list has", "pod-a", "blobs.stores.00.credentials", "blobs.stores.00.credentials is not sealed"],
    ["half a store", "pod-a", "blobs.stores.3.credentials", 'blobs.stores[3] has no "region"'],
    ["another kind of trust", "pod-b", "trust.value", 'pods.pod-b.trust is not of kind "header"'],
    ["a member that holds no secret", "pod-a", "registry", "pods.pod-a.registry is not sealed; want blobs.stores."],
  ])("is refused for %s", (_what, pod, field, why) => {
    expect(sealedPlace(topology, { pod, field })).toEqual({ ok: false, error: expect.stringContaining(why) as string });
  });

  test("is refused for a file with placeholders or without YAML", () => {
    const example = readFileSync("topology.example.yaml", "utf8");
    const place = { pod: "pod-a", field: store };
    for (const [text, why] of [
      [example, /line 10: this is a placeholder/],
      ["pods: [", /line 1: not YAML/],
    ] as const) {
      expect(sealedPlace(text, place)).toEqual({ ok: false, error: expect.stringMatching(why) as string });
    }
  });
});
