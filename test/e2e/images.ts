/** Makes images as OCI layout folders, with random layers of a given size, for one platform or several. */
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, rename, writeFile } from "node:fs/promises";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { tarOfRandomBytes } from "./tar.ts";

export const megabyte = 1_000_000;

export type Descriptor = { readonly mediaType: string; readonly digest: string; readonly size: number };
type Platform = { readonly os: string; readonly architecture: string };
type LayoutEntry = Descriptor & { readonly platform?: Platform };

const mediaTypes = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar+gzip",
} as const;

/** The image has the tag `image` in the layout. */
export async function makeImage(layout: string, layerSizes: readonly number[]): Promise<Descriptor> {
  const manifest = await addImage(layout, { os: "linux", architecture: "amd64" }, layerSizes);
  await writeLayout(layout, manifest);
  return manifest;
}

/** The index has the tag `image` in the layout, and names an image for each platform. */
export async function makeMultiArchImage(layout: string, layerBytes: number): Promise<Descriptor> {
  const manifests: LayoutEntry[] = [];
  for (const architecture of ["amd64", "arm64"]) {
    const platform = { os: "linux", architecture };
    manifests.push({ ...(await addImage(layout, platform, [layerBytes])), platform });
  }
  const index = await addJson(layout, mediaTypes.index, { schemaVersion: 2, mediaType: mediaTypes.index, manifests });
  await writeLayout(layout, index);
  return index;
}

async function addImage(layout: string, platform: Platform, layerSizes: readonly number[]): Promise<Descriptor> {
  const layers: Descriptor[] = [];
  const diffIds: string[] = [];
  for (const [index, bytes] of layerSizes.entries()) {
    const { descriptor, diffId } = await addLayer(layout, `layer-${index}`, bytes);
    layers.push(descriptor);
    diffIds.push(diffId);
  }
  const config = await addJson(layout, mediaTypes.config, {
    ...platform,
    config: {},
    rootfs: { type: "layers", diff_ids: diffIds },
  });
  return addJson(layout, mediaTypes.manifest, { schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers });
}

/** Random bytes would not get smaller, so gzip only stores them (level 0). */
async function addLayer(layout: string, name: string, bytes: number) {
  const file = `${blobsOf(layout)}/part`;
  await mkdir(blobsOf(layout), { recursive: true });
  const plain = meter();
  const packed = meter();
  const source = Readable.from(tarOfRandomBytes(name, bytes));
  await pipeline(source, plain.through, createGzip({ level: 0 }), packed.through, createWriteStream(file));
  const { digest, size } = packed.result();
  await rename(file, blobFile(layout, digest));
  return { descriptor: { mediaType: mediaTypes.layer, digest, size }, diffId: plain.result().digest };
}

function meter() {
  const hash = createHash("sha256");
  let size = 0;
  const through = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      size += chunk.length;
      done(null, chunk);
    },
  });
  return { through, result: () => ({ digest: `sha256:${hash.digest("hex")}`, size }) };
}

async function addJson(layout: string, mediaType: string, value: object): Promise<Descriptor> {
  const text = JSON.stringify(value);
  const digest = digestOf(text);
  await mkdir(blobsOf(layout), { recursive: true });
  await writeFile(blobFile(layout, digest), text);
  return { mediaType, digest, size: Buffer.byteLength(text) };
}

async function writeLayout(layout: string, entry: Descriptor): Promise<void> {
  const annotations = { "org.opencontainers.image.ref.name": "image" };
  await writeFile(`${layout}/oci-layout`, JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  await writeFile(`${layout}/index.json`, JSON.stringify({ schemaVersion: 2, manifests: [{ ...entry, annotations }] }));
}

export const digestOf = (content: string | Buffer): string =>
  `sha256:${createHash("sha256").update(content).digest("hex")}`;
export const blobFile = (layout: string, digest: string): string => `${blobsOf(layout)}/${digest.slice(7)}`;
const blobsOf = (layout: string): string => `${layout}/blobs/sha256`;
