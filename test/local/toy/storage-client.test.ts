import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { putBlob, redirectUrl } from "../../../src/local/toy/storage-client.ts";
import { parseDigest } from "../../../src/oci/digest.ts";
import { credentials, serveForTest, sha256, startToyStorage, temporaryDir } from "../../support/toy-pod.ts";

async function blobFile(sizeBytes: number) {
  const body = Buffer.alloc(sizeBytes, "x");
  const file = join(await temporaryDir(), "blob");
  await writeFile(file, body);
  const digest = parseDigest(sha256(body));
  if (!digest.ok) throw new Error(digest.error);
  return { file, digest: digest.value };
}

test("putBlob reports a storage that refuses, for large blobs and for many at once", async () => {
  // The clock of this storage always shows `storageNow`, so the storage refuses a URL that is signed at the real time.
  const { endpoint } = await startToyStorage();
  const { file, digest } = await blobFile(8 * 1024 * 1024);
  const puts = Array.from({ length: 40 }, () => putBlob({ ...credentials, endpoint }, digest, file, 8 * 1024 * 1024));
  for (const put of await Promise.allSettled(puts)) {
    expect(put).toMatchObject({ reason: { message: `storage answered 403 to the PUT of ${digest}` } });
  }
});

test("putBlob fails if the storage refuses connections or cuts them", async () => {
  const { file, digest } = await blobFile(10);
  const cutting = await serveForTest((request) => request.socket.destroy());
  const closed = createServer();
  await new Promise<void>((resolve) => closed.listen(0, "127.0.0.1", resolve));
  const { port } = closed.address() as AddressInfo;
  await new Promise((resolve) => closed.close(resolve));
  for (const each of [cutting, port]) {
    await expect(putBlob({ ...credentials, endpoint: `http://127.0.0.1:${each}` }, digest, file, 10)).rejects.toThrow();
  }
});

test("redirectUrl gives a URL for one method and 20 minutes", async () => {
  const { digest } = await blobFile(10);
  const options = { ...credentials, endpoint: "http://localhost:1" };
  const url = new URL(redirectUrl(options, "GET", digest));
  expect(url.searchParams.get("X-Amz-Expires")).toBe("1200");
  expect(url.pathname).toBe(`/pod-a/docker/registry/v2/blobs/sha256/${digest.slice(7, 9)}/${digest.slice(7)}/data`);
  expect(url.searchParams.get("X-Amz-Signature")).not.toBe(
    new URL(redirectUrl(options, "HEAD", digest)).searchParams.get("X-Amz-Signature"),
  );
});
