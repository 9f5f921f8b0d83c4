import { expect, test } from "vitest";
import type { PodId } from "../../src/directory/pod-id.ts";
import type { RepositoryName } from "../../src/oci/repository-name.ts";
import { openPin, sealPin } from "../../src/pods/upload-pin.ts";

const key = () => crypto.getRandomValues(new Uint8Array(32));
const [old, live] = [key(), key()];
const now = new Date("2026-11-23T10:00:00Z");
const pinned = { repository: "acme/app" as RepositoryName, upload: "5b2c" };
const pod = "pod-a" as PodId;

test("an upload pin opens with either live key, for its own repository and upload, until it expires", async () => {
  const pin = await sealPin(pod, pinned, { edgeKeys: [old], now });
  expect(pin).toMatch(/^[A-Za-z0-9_-]+$/);
  expect(await openPin(pin, pinned, { edgeKeys: [live, old], now })).toBe(pod);
  expect(await openPin(pin, pinned, { edgeKeys: [live], now })).toBeNull();
  expect(
    await openPin(pin, { ...pinned, repository: "acme/other" as RepositoryName }, { edgeKeys: [old], now }),
  ).toBeNull();
  expect(await openPin(pin, { ...pinned, upload: "other" }, { edgeKeys: [old], now })).toBeNull();
  expect(
    await openPin(pin, pinned, { edgeKeys: [old], now: new Date(now.getTime() + 8 * 24 * 3600 * 1000) }),
  ).toBeNull();
});

test("an upload pin with any character changed, cut or added does not open", async () => {
  const pin = await sealPin(pod, pinned, { edgeKeys: [live], now });
  for (let index = 0; index < pin.length; index++) {
    const changed = `${pin.slice(0, index)}${pin[index] === "A" ? "B" : "A"}${pin.slice(index + 1)}`;
    expect(await openPin(changed, pinned, { edgeKeys: [live], now })).toBeNull();
  }
  for (const text of ["", "x", pin.slice(1), pin.slice(0, -2), `${pin}AA`, `${pin}=`]) {
    expect(await openPin(text, pinned, { edgeKeys: [live], now })).toBeNull();
  }
});
