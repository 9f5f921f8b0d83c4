/** The images that the stack starts with: real ones, of one layer that holds one small text file. Pure. */
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { tarOf } from "./tar.ts";

export type Content = { readonly bytes: Buffer; readonly digest: string; readonly mediaType: string };
export type Image = {
  readonly repository: string;
  readonly tag: string;
  readonly manifest: Content;
  readonly config: Content;
  readonly layer: Content;
};

export const helloImage = (prefix: string): Image => image(`${prefix}/hello`, "Anyone may pull this.");
export const privateImage = (prefix: string): Image => image(`${prefix}/private`, "Only users may pull this.");

function image(repository: string, sentence: string): Image {
  const tar = tarOf("hello.txt", Buffer.from(`This is ${repository}. ${sentence}\n`));
  const layer = content("application/vnd.oci.image.layer.v1.tar+gzip", gzipSync(tar));
  const config = json("application/vnd.oci.image.config.v1+json", {
    created: "1970-01-01T00:00:00Z",
    architecture: "amd64",
    os: "linux",
    config: { Labels: { "org.opencontainers.image.title": repository } },
    rootfs: { type: "layers", diff_ids: [sha256(tar)] },
    history: [{ created: "1970-01-01T00:00:00Z", created_by: "registry-edge" }],
  });
  const manifest = json("application/vnd.oci.image.manifest.v1+json", {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: descriptor(config),
    layers: [descriptor(layer)],
  });
  return { repository, tag: "1", manifest, config, layer };
}

const sha256 = (bytes: Buffer): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
const content = (mediaType: string, bytes: Buffer): Content => ({ bytes, digest: sha256(bytes), mediaType });
const json = (mediaType: string, value: object): Content => content(mediaType, Buffer.from(JSON.stringify(value)));
const descriptor = ({ mediaType, digest, bytes }: Content): object => ({ mediaType, digest, size: bytes.length });
