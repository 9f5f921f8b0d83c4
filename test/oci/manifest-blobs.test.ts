import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { manifestBlobs } from "../../src/oci/manifest-blobs.ts";

const ociManifest = "application/vnd.oci.image.manifest.v1+json";
const dockerManifest = "application/vnd.docker.distribution.manifest.v2+json";
const ociIndex = "application/vnd.oci.image.index.v1+json";
const digest = (char: string) => `sha256:${char.repeat(64)}`;
const [own, layer, victim] = ["a", "b", "c"].map(digest);
const layerType = "application/vnd.oci.image.layer.v1.tar+gzip";
const config = { mediaType: "application/vnd.oci.image.config.v1+json", digest: own, size: 2 };
const manifest = { schemaVersion: 2, mediaType: ociManifest, config, layers: [] as unknown[] };
const blobs = (value: object | string, contentType: string | null = ociManifest) =>
  manifestBlobs(contentType, Buffer.from(typeof value === "string" ? value : JSON.stringify(value)));

test("manifestBlobs gives the config and the layers of an image, each once", () => {
  const layers = [layer, layer].map((each) => ({ mediaType: layerType, digest: each, size: 3, urls: [] }));
  expect(blobs({ ...manifest, layers })).toEqual([own, layer]);
  expect(blobs({ ...manifest, mediaType: dockerManifest, layers }, `${dockerManifest}; charset=utf-8`)).toHaveLength(2);
  expect(blobs({ schemaVersion: 2, config, layers })).toHaveLength(2);
});

describe("manifestBlobs gives no blob for a descriptor", () => {
  test.each([
    ["with urls", { mediaType: layerType, urls: ["https://elsewhere.test/layer"] }],
    ["with urls that are not a list", { mediaType: layerType, urls: "https://elsewhere.test/layer" }],
    ["with urls as Go reads them", { mediaType: layerType, URLs: ["https://elsewhere.test/layer"] }],
    ["with a digest as Go reads it", { mediaType: layerType, Digest: own }],
    ["of a foreign layer", { mediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" }],
    ["of a non-distributable layer", { mediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip" }],
    ["of a manifest", { mediaType: ociManifest }],
    ["of an index", { mediaType: ociIndex }],
    ["of a manifest list", { mediaType: "application/vnd.docker.distribution.manifest.list.v2+json" }],
    ["without a media type", {}],
    ["with a malformed digest", { mediaType: layerType, digest: "sha256:c" }],
  ])("%s", (_, descriptor) => {
    expect(blobs({ ...manifest, layers: [{ digest: victim, size: 3, ...descriptor }] })).toEqual([own]);
  });

  test("that is the subject", () => {
    expect(blobs({ ...manifest, subject: { mediaType: layerType, digest: victim, size: 3 } })).toEqual([own]);
  });
});

describe("manifestBlobs gives no blob for a manifest", () => {
  const layers = [{ mediaType: layerType, digest: victim, size: 3 }];
  const whole = JSON.stringify({ ...manifest, layers });
  test.each<[string, object | string, (string | null)?]>([
    ["whose type is not that of an image", { ...manifest, mediaType: ociIndex, layers }, ociIndex],
    ["without a type", whole, null],
    ["of another type than the header says", { ...manifest, layers }, dockerManifest],
    ["of schema 1", { ...manifest, schemaVersion: 1, layers }],
    ["that is also an index", { ...manifest, layers, manifests: [] }],
    ["that is also an artifact", { ...manifest, layers, blobs: [] }],
    ["whose layers are named twice", whole.replace(/}$/, ',"layers":[]}')],
    ["whose layers are named twice, once escaped", whole.replace(/}$/, ',"\\u006cayers":[]}')],
    ["whose layers are named twice for Go", { ...manifest, layers, Layers: [] }],
    ["whose layers are named twice by the long s", { ...manifest, layers, layerſ: [] }],
    ["whose descriptor names its digest twice", whole.replace('"size":3', `"size":3,"digest":"${own}"`)],
    ["after a byte order mark", `\ufeff${whole}`],
    ["that is not JSON", whole.slice(1)],
    ["that is not an object", "[]"],
    ["that is null", "null"],
  ])("%s", (_, value, contentType = ociManifest) => {
    expect(blobs(value, contentType)).toEqual([]);
  });

  test("that is not UTF-8", () => {
    const bytes = Buffer.from(whole.replace("tar+gzip", "tar\u00ff"), "latin1");
    expect(manifestBlobs(ociManifest, bytes)).toEqual([]);
  });
});

test("manifestBlobs does not take colons and quotes inside a string for a member", () => {
  const annotations = { 'a"b": {"c": "d': 'e": "f\\', "": '": ' };
  const layers = [{ mediaType: layerType, digest: layer, size: 3, annotations: { 'x"': '\\":' } }];
  expect(blobs({ ...manifest, annotations, layers })).toEqual([own, layer]);
});

test("manifestBlobs takes at most 256 blobs from one manifest", () => {
  const layers = Array.from({ length: 1_000 }, (_, index) => ({
    mediaType: layerType,
    digest: `sha256:${index.toString(16).padStart(64, "0")}`,
    size: 1,
  }));
  expect(blobs({ ...manifest, layers })).toHaveLength(256);
});

test("manifestBlobs gives no blob that is in neither config nor layers, whatever else the manifest holds", () => {
  fc.assert(
    fc.property(fc.json(), fc.jsonValue(), (text, value) => {
      expect(blobs(text)).toEqual([]);
      expect(blobs({ ...manifest, annotations: value })).toEqual([own]);
    }),
  );
});

test("manifestBlobs gives no blob for half a million nested arrays", () => {
  expect(blobs(`${"[".repeat(500_000)}${"]".repeat(500_000)}`)).toEqual([]);
});
