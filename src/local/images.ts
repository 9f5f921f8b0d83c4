/** The images that the stack starts with. They are real images, each with one layer that holds one small text file. */
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";

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

const manifestType = "application/vnd.oci.image.manifest.v1+json";

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
  const manifest = json(manifestType, {
    schemaVersion: 2,
    mediaType: manifestType,
    config: descriptor(config),
    layers: [descriptor(layer)],
  });
  return { repository, tag: "1", manifest, config, layer };
}

const sha256 = (bytes: Buffer): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
const content = (mediaType: string, bytes: Buffer): Content => ({ bytes, digest: sha256(bytes), mediaType });
const json = (mediaType: string, value: object): Content => content(mediaType, Buffer.from(JSON.stringify(value)));
const descriptor = ({ mediaType, digest, bytes }: Content): object => ({ mediaType, digest, size: bytes.length });

const tarBlockBytes = 512;

/** Returns a POSIX ustar archive of one file: a header, the file padded to whole blocks, and two empty blocks. */
const tarOf = (name: string, file: Buffer): Buffer =>
  Buffer.concat([tarHeader(name, file.length), file, tarEnd(file.length)]);

/** Returns a header with fields at fixed places and numbers in octal. The checksum counts its own field as blanks. */
export function tarHeader(name: string, bytes: number): Buffer {
  const header = Buffer.alloc(tarBlockBytes);
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, "0")}\0`;
  header.write(name, 0);
  header.write(octal(0o644, 7), 100);
  header.write(octal(0, 7), 108);
  header.write(octal(0, 7), 116);
  header.write(octal(bytes, 11), 124);
  header.write(octal(0, 11), 136);
  header.write(" ".repeat(8), 148);
  header.write("0", 156);
  header.write("ustar\u000000", 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${octal(sum, 6)} `, 148);
  return header;
}

export const tarEnd = (bytes: number): Buffer =>
  Buffer.alloc(((tarBlockBytes - (bytes % tarBlockBytes)) % tarBlockBytes) + 2 * tarBlockBytes);
