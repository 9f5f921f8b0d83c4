import fc from "fast-check";
import * as v from "valibot";
import { afterEach, describe, expect, test, vi } from "vitest";
import { signBlobUrl } from "../../src/blobs/sign.ts";
import type { Pod } from "../../src/directory/directory.ts";
import { createIsolate } from "../../src/isolate.ts";
import { ok } from "../../src/lib/result.ts";
import type { Digest } from "../../src/oci/digest.ts";
import type { RepositoryName } from "../../src/oci/repository-name.ts";
import { type SigningStore, schemes, signerOf, storeOrigin, storeSchema } from "../../src/signers/index.ts";
import { objectKeys } from "./object-keys.ts";
import { samples } from "./samples.ts";
import { type Case, openedSecret, type SigningScheme, sign, textToSign } from "./sign.ts";

const digest = `sha256:${"ab".repeat(32)}` as Digest;
const blobPath = `docker/registry/v2/blobs/sha256/ab/${"ab".repeat(32)}/data`;
const now = new Date("2026-11-23T10:09:59Z");

afterEach(() => void vi.restoreAllMocks());

const stringsOf = (value: unknown): readonly string[] =>
  typeof value === "string"
    ? [value]
    : typeof value === "object" && value !== null
      ? Object.values(value).flatMap(stringsOf)
      : [];

const allCases = Object.entries(samples).flatMap(([scheme, stores]) =>
  stores.map((store, index) => [`${scheme} ${index}`, scheme as SigningScheme, store] as const),
);

test("every scheme of the table has a sample, under its own id", () => {
  expect(Object.keys(samples).toSorted()).toEqual(
    Object.keys(schemes)
      .filter((id) => id !== "pod")
      .toSorted(),
  );
  for (const [id, { config }] of Object.entries(schemes)) expect(config.entries.scheme.literal).toBe(id);
});

test("a Pod that redirects by itself has no origin of its own and takes no other member", () => {
  expect(storeOrigin(v.parse(storeSchema, { scheme: "pod" }))).toBeNull();
  expect(v.safeParse(storeSchema, { scheme: "pod", bucket: "b" }).success).toBe(false);
});

type Sample = Pick<Case, "config" | "secret">;

function storeOf(scheme: SigningScheme, sample: Sample, members: object = {}) {
  const credentials = sample.secret === undefined ? {} : { credentials: "sealed" };
  const store = v.parse(storeSchema, { scheme, ...credentials, ...sample.config, ...members });
  if (store.scheme === "pod") expect.fail("no such sample");
  return store;
}

const { signing } = createIsolate();

function blobUrl(store: SigningStore, secret: unknown, at = now) {
  const pod = { id: "pod-a", blobs: { stores: [store] } } as unknown as Pod;
  const attribution = { repository: "acme/app" as RepositoryName, sizeBytes: 7 };
  const openSecret = async () => ok(JSON.stringify(secret));
  return signBlobUrl({ method: "GET", digest, pod, store, attribution }, { openSecret, signing, now: at });
}

test("a secret that cannot sign is an error that names its place, and no exception", async () => {
  const signed = await blobUrl(storeOf("s3", samples.s3[0] ?? { config: {} }), {
    accessKeyId: "\ud800",
    secretAccessKey: "key",
  });
  const text = 'sealed value of Pod "pod-a", field "blobs.stores.0.credentials", cannot sign a URL';
  expect(signed).toMatchObject({ ok: false, error: { reason: "misconfigured", text } });
});

describe.each(allCases)("a store of %s", (_, scheme, sample) => {
  test("stays in a record as it was written, and has no unknown member", () => {
    const store = storeOf(scheme, sample);
    expect(v.parse(storeSchema, JSON.parse(JSON.stringify(store)))).toEqual(store);
    expect(v.safeParse(storeSchema, { ...store, unknown: 1 }).success).toBe(false);
    expect(v.safeParse(storeSchema, { ...store, prefix: "a/../b" }).success).toBe(false);
  });

  test("has an origin and a target that say where its URLs lead", async () => {
    const store = storeOf(scheme, sample);
    expect(new URL(await sign(scheme, sample)).origin).toBe(storeOrigin(store));
    expect(signerOf(store).target(store)).not.toBe("");
  });

  test("names every object key in the path of its URL, so that a client's parser gets the key back", async () => {
    for (const key of objectKeys) {
      const url = new URL(await sign(scheme, { ...sample, key }));
      expect(decodeURIComponent(url.pathname).endsWith(`/${key}`), key).toBe(true);
      expect(url.hash).toBe("");
    }
  });

  test("has URLs that a client's parser does not change", async () => {
    for (const key of objectKeys) {
      const url = await sign(scheme, { ...sample, key, attribution: [["repository", "acme/app"]] });
      expect(new URL(url).href).toBe(url);
    }
  });

  test("says in a URL for whom it is, only if the record tells it to", async () => {
    const stores = [{}, { attribution: true }].map((members) => storeOf(scheme, sample, members));
    const [silent, telling] = await Promise.all(stores.map((store) => blobUrl(store, sample.secret)));
    if (!silent?.ok || !telling?.ok) expect.fail("not signed");
    expect(silent.value).not.toMatch(/acme/);
    expect(decodeURIComponent(telling.value)).toMatch(/repository=acme\/app.*size-bytes=7/);
    expect(decodeURIComponent(new URL(telling.value).pathname).endsWith(blobPath)).toBe(true);
  });

  test("gives the same URL to all who ask within a window, and another one afterwards", async () => {
    const store = storeOf(scheme, sample);
    const times = Array.from({ length: 32 }, (_, index) => new Date(Date.UTC(2026, 10, 23, 10, 0, index * 18)));
    const urls = await Promise.all(times.map((at) => blobUrl(store, sample.secret, at)));
    expect(new Set(urls.map((url) => (url.ok ? url.value : null))).size).toBe(1);
    const next = await blobUrl(store, sample.secret, new Date("2026-11-23T10:10:00Z"));
    if (scheme !== "public") expect(next).not.toEqual(urls[0]);
  });
});

/** Returns when a URL expires, in seconds since the epoch. Each scheme writes this time in its own form. */
function endOf({ search, searchParams }: URL): number {
  const policy = searchParams.get("Policy")?.replaceAll("-", "+").replaceAll("_", "=").replaceAll("~", "/");
  const text = policy === undefined ? decodeURIComponent(search) : Buffer.from(policy, "base64").toString();
  const issued = /-Date=(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z/.exec(text);
  const life = /X-(?:Amz|Goog)-Expires=(\d+)/.exec(text);
  if (issued !== null && life !== null) {
    const [year = 0, month = 0, ...rest] = issued.slice(1).map(Number);
    return Date.UTC(year, month - 1, ...rest) / 1000 + Number(life[1]);
  }
  const sasEnd = searchParams.get("se");
  if (sasEnd !== null) return Date.parse(sasEnd) / 1000;
  // In the samples, Cloudflare's WAF rule adds a ttl of 600 s to the time in the URL. So the signer writes the URL's expiry minus 600 s.
  const verified = /verify=(\d{10})-/.exec(text);
  if (verified !== null) return Number(verified[1]) + 600;
  return Number(/(?:Expires=|expires=|exp=|"AWS:EpochTime":)(\d{10})/.exec(text)?.[1]);
}

const sealedCases = allCases.filter(([, , { secret }]) => secret !== undefined);

describe.each(sealedCases)("a store of %s, which has a secret,", (_, scheme, sample) => {
  const store = () => storeOf(scheme, sample);

  test("shows its secret neither in a URL nor in the error for a secret that does not parse", async () => {
    const url = decodeURIComponent(await sign(scheme, sample));
    const names = /email|accessId|accessKeyId|keyPairId|keyName|signed|salt/;
    const hidden = Object.entries(sample.secret ?? {}).flatMap(([name, value]) =>
      names.test(name) ? [] : stringsOf(typeof value === "object" ? (value as { value: string }).value : value),
    );
    expect(hidden.length).toBeGreaterThan(0);
    for (const text of hidden) expect(url).not.toContain(text);

    for (const [name, value] of Object.entries(sample.secret ?? {})) {
      const broken = { ...sample.secret, [name]: typeof value === "string" ? "" : { ...value, value: "%not-base64%" } };
      const answer = await blobUrl(store(), broken);
      if (answer.ok) expect.fail(`a secret with a bad ${name} is taken`);
      expect(answer.error.reason).toBe("misconfigured");
      expect(answer.error.text).toContain('sealed value of Pod "pod-a", field "blobs.stores.0.credentials", is wrong');
      expect(answer.error.text).toMatch(new RegExp(`is wrong at "${name}(\\.value)?": want .`));
      const values = stringsOf(sample.secret).filter((text) => text.length > 1);
      for (const text of [...values, "%not-base64%"]) expect(answer.error.text).not.toContain(text);
    }
    expect(await blobUrl(store(), "no object")).toMatchObject({ ok: false, error: { reason: "misconfigured" } });
  });

  test("makes URLs at any time that have twenty to thirty minutes left", async () => {
    const anyTime = fc.date({ min: new Date("2026-01-01"), max: new Date("2060-01-01"), noInvalidDate: true });
    await fc.assert(
      fc.asyncProperty(anyTime, async (at) => {
        const url = await blobUrl(store(), sample.secret, at);
        if (!url.ok) expect.fail(url.error.text);
        const leftSeconds = endOf(new URL(url.value)) - at.getTime() / 1000;
        expect(leftSeconds).toBeGreaterThanOrEqual(1200);
        expect(leftSeconds).toBeLessThanOrEqual(1800);
      }),
      { numRuns: 20 },
    );
  });

  test("signs the text that it says it signs", async () => {
    const [digests, signatures] = [vi.spyOn(crypto.subtle, "digest"), vi.spyOn(crypto.subtle, "sign")];
    await sign(scheme, sample);
    const texts = [...digests.mock.calls, ...signatures.mock.calls].map((call) =>
      Buffer.from(call.at(-1) as Uint8Array).toString(),
    );
    const text = await textToSign(scheme, sample);
    // If nginx uses MD5, which WebCrypto does not have, the signer does not call WebCrypto. So the two spies see no text.
    const byMd5 = scheme === "nginx" && text === null;
    expect(byMd5 ? texts : texts.includes(text ?? "")).toEqual(byMd5 ? [] : true);
  });

  test("has no URL that outlives its secret", async () => {
    const ending = (expiresAt: string) => {
      const delegated = (sample.secret as { userDelegationKey?: object }).userDelegationKey;
      if (delegated === undefined) return { ...sample.secret, expiresAt };
      return { userDelegationKey: { ...delegated, signedExpiresOn: expiresAt } };
    };
    const soon = await blobUrl(store(), ending("2026-11-23T10:29:58Z"));
    expect(soon).toEqual({
      ok: false,
      error: {
        reason: "misconfigured",
        text: 'sealed value of Pod "pod-a", field "blobs.stores.0.credentials", expires too soon for a URL; want 20 minutes left',
      },
    });
    const [just, long] = await Promise.all([
      blobUrl(store(), ending("2026-11-23T10:29:59Z")),
      blobUrl(store(), sample.secret),
    ]);
    expect(just.ok && long.ok && just.value !== long.value).toBe(true);
    expect(await openedSecret(scheme, ending("2026-11-23T10:29:59Z"))).toMatchObject({
      expiresAt: new Date("2026-11-23T10:29:59Z"),
    });
  });
});
