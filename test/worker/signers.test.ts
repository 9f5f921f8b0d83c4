import { generateKeyPairSync } from "node:crypto";
import * as v from "valibot";
import { beforeAll, describe, expect, test } from "vitest";
import { generateSealingKeys, seal } from "../../src/directory/seal.ts";
import { type SigningStore, signerOf, storeSchema } from "../../src/signers/index.ts";
import { signingWindow } from "../../src/signers/window.ts";
import { samples } from "../signers/samples.ts";
import { type SigningScheme, sign } from "../signers/sign.ts";
import { createClient, layersOf } from "../support/client.ts";
import { useStack, withStores } from "../support/toy-stack.ts";

const cases = Object.entries(samples).flatMap(([scheme, stores]) =>
  stores.map((sample) => ({ scheme: scheme as SigningScheme, ...sample })),
);
const endedSecret = { ...samples.s3[0]?.secret, expiresAt: "2026-01-01T00:00:00Z" };
const ended = { scheme: "s3", config: samples.s3[0]?.config, secret: endedSecret } as const;
const x25519 = generateKeyPairSync("x25519").privateKey.export({ type: "pkcs8", format: "pem" });
const otherKind = { scheme: "media-cdn", config: samples["media-cdn"][0]?.config } as const;
const baseUrl = "https://stand-in.test";
/**
 * Each store of Pod A is only for clients with its own addresses, so a test chooses a store by the address that it sends. The secret of each `ended`
 * store has expired. The second `ended` store shares its address with the `public` store, and the third shares its address with the `pod` store.
 */
const placed = [
  ...cases.map((sample, index) => ({ ...sample, cidr: `192.0.2.${index}` })),
  { ...ended, cidr: "198.51.100.1" },
  { ...ended, cidr: "198.51.100.2" },
  { ...ended, cidr: "198.51.100.4" },
  { scheme: "public", config: { baseUrl }, secret: undefined, cidr: "198.51.100.2/31" },
  { scheme: "pod", config: {}, secret: undefined, cidr: "198.51.100.4/31" },
  { ...otherKind, secret: { keyName: "key", privateKey: x25519 }, cidr: "198.51.100.6" },
];
const sealingKeys = await generateSealingKeys();
const stores = await Promise.all(
  placed.map(async ({ scheme, config, secret, cidr }, index) => {
    const members = { scheme, ...config, when: { cidrs: [cidr] } };
    if (secret === undefined) return members;
    const store = v.parse(storeSchema, { ...members, credentials: "sealed" }) as SigningStore;
    const target = signerOf(store).target(store);
    const sealedFor = { pod: "pod-a", field: `blobs.stores.${index}.credentials`, scheme, target };
    return { ...members, credentials: await seal(JSON.stringify(secret), sealedFor, sealingKeys.publicJwk) };
  }),
);

const stack = useStack({ sealingKeys, topology: withStores(JSON.stringify(stores), "[]") });

let digest = "";
let token = "";
beforeAll(async () => {
  const [layer] = await layersOf(stack.current, "acme/private");
  digest = layer?.digest ?? "";
  token = await createClient(stack.current.edge).token(["repository:acme/private:pull"]);
});

async function layerUrls(ip: string, count: number, method = "GET") {
  const client = createClient(stack.current.edge);
  const answers = Array.from({ length: count }, (_, part) =>
    client.get(`/v2/acme/private/blobs/${digest}`, token, {
      method,
      headers: { "CF-Connecting-IP": ip, Range: `bytes=${part}-${part}` },
    }),
  );
  const hex = digest.slice("sha256:".length);
  return { answers: await Promise.all(answers), key: `docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/data` };
}

/** An ECDSA signature has a random part, so comparisons leave the signature out. */
const withoutSignature = (url: string) => url.replace(/((?:X-Amz-)?Signature=)[^&]+/, "$1");
/** Whether a store signs by ECDSA, so that its signatures are random. A short secret of CloudFront has an ECDSA key, because RSA keys are longer. */
const isRandom = ({ scheme, secret }: (typeof cases)[number]) =>
  scheme === "s3-v4a" || (scheme === "cloudfront" && JSON.stringify(secret).length < 500);

describe("signed URL in workerd", () => {
  test.each(
    cases.map((sample, index) => [`${sample.scheme} ${JSON.stringify(sample.config)}`, index, sample] as const),
  )("32 parallel ranges get one URL, the same that Node signs: %s", async (_, index, sample) => {
    const windows = [signingWindow(new Date(), null)];
    const { answers, key } = await layerUrls(`192.0.2.${index}`, 32);
    windows.push(signingWindow(new Date(), null));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([307]));
    const urls = new Set(answers.map(({ headers }) => headers.get("Location") ?? ""));
    const signed = await Promise.all(
      windows.map(async (window) => (window === null ? "" : sign(sample.scheme, { ...sample, key, window }))),
    );
    // If a new signing window has begun during the requests, there may be two URLs.
    expect(urls.size).toBeLessThanOrEqual(new Set(signed).size === 1 || isRandom(sample) ? 1 : 2);
    const plain = isRandom(sample) ? withoutSignature : (url: string) => url;
    for (const url of urls) expect(signed.map(plain)).toContain(plain(url));
  });

  test("an expired secret makes the answer 500, and only the log says where the secret is", async () => {
    stack.current.clearSeen();
    const { answers } = await layerUrls("198.51.100.1", 1);
    const [answer] = answers;
    expect([answer?.status, await answer?.text()]).toEqual([500, expect.not.stringContaining("stores")]);
    await stack.current.edgeSettled();
    const cause = causeOf(cases.length);
    expect(stack.current.edgeSeen().at(-1)).toMatchObject({ outcome: "failed", cause });
  });

  test("a secret whose key is of another kind makes the answer 500, and only the log says where the secret is", async () => {
    stack.current.clearSeen();
    const { answers } = await layerUrls("198.51.100.6", 1);
    expect(answers[0]?.status).toBe(500);
    await stack.current.edgeSettled();
    const cause = `field "blobs.stores.${placed.length - 1}.credentials", cannot sign a URL`;
    expect(stack.current.edgeSeen().at(-1)).toMatchObject({ outcome: "failed", cause: expect.stringContaining(cause) });
  });

  test.each(["GET", "HEAD"])(
    "a store whose secret has expired is passed over for the next that fits: %s",
    async (method) => {
      stack.current.clearSeen();
      const { answers, key } = await layerUrls("198.51.100.2", 1, method);
      expect([answers[0]?.status, answers[0]?.headers.get("Location")]).toEqual([307, `${baseUrl}/${key}`]);
      await stack.current.edgeSettled();
      const passedOver = causeOf(cases.length + 1);
      expect(stack.current.edgeSeen().at(-1)).toMatchObject({ outcome: "redirected", passedOver });
    },
  );

  test.each(["GET", "HEAD"])("if the Pod itself is the next store, its redirect is passed on: %s", async (method) => {
    stack.current.clearSeen();
    const { answers } = await layerUrls("198.51.100.4", 1, method);
    const target = new URL(answers[0]?.headers.get("Location") ?? "");
    expect([answers[0]?.status, target.origin]).toEqual([307, stack.current.pods["pod-a"].storage.direct]);
    await stack.current.edgeSettled();
    const passedOver = causeOf(cases.length + 2);
    expect(stack.current.edgeSeen().at(-1)).toMatchObject({ outcome: "redirected", passedOver });
  });
});

const causeOf = (index: number): unknown =>
  expect.stringContaining(
    `sealed value of Pod "pod-a", field "blobs.stores.${index}.credentials", expires too soon for a URL`,
  );
