import { expect, test } from "vitest";
import { generateSealingKeys, seal, unseal } from "../../src/directory/seal.ts";
import { createOpenSecret } from "../../src/directory/secrets.ts";
import { createIsolate } from "../../src/isolate.ts";
import { maxPods } from "../../src/topology/topology.ts";

const sealedFor = { pod: "pod-a", field: "blobs.stores.0.credentials", scheme: "s3", target: "bucket-a" };

test("a sealed secret opens with either live key, and only in the place that it was sealed for", async () => {
  const [old, live, stranger] = await Promise.all([
    generateSealingKeys(),
    generateSealingKeys(),
    generateSealingKeys(),
  ]);
  const sealed = await seal("secret", sealedFor, old.publicJwk);
  expect(sealed).not.toContain("secret");
  expect(await unseal(sealed, sealedFor, [live.privateJwk, old.privateJwk])).toEqual({ ok: true, value: "secret" });
  expect((await unseal(sealed, sealedFor, [stranger.privateJwk])).ok).toBe(false);
  for (const member of ["pod", "field", "scheme", "target"] as const) {
    const elsewhere = await unseal(sealed, { ...sealedFor, [member]: "other" }, [old.privateJwk]);
    expect(elsewhere).toMatchObject({ ok: false, error: expect.stringContaining(`another ${member}`) });
  }
});

test("an error about a sealed secret names Pod and field, never the value", async () => {
  const { privateJwk } = await generateSealingKeys();
  const opened = await unseal("not.a.jwe.at.all", sealedFor, [privateJwk]);
  expect(opened).toMatchObject({ ok: false, error: expect.stringMatching(/pod-a.*blobs\.stores\.0\.credentials/) });
  expect(JSON.stringify(opened)).not.toContain("not.a.jwe");
});

test("an isolate opens each secret once, even if the directory lists as many Pods as it may", async () => {
  const { publicJwk, privateJwk } = await generateSealingKeys();
  const { openedSecrets } = createIsolate();
  const open = createOpenSecret([privateJwk], openedSecrets);
  const sealed = await seal("secret", sealedFor, publicJwk);
  expect((await open(sealed, sealedFor)).ok).toBe(true);
  for (let other = 1; other < maxPods; other += 1) openedSecrets.set(`pod-${other}`, "other");
  // Without a key, only secrets that are in memory can be opened.
  expect((await createOpenSecret([], openedSecrets)(sealed, sealedFor)).ok).toBe(true);
});
