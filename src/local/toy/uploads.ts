import { createHash, createHmac, randomBytes, randomUUID, timingSafeEqual } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, rm, stat, writeFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { type Digest, digestParts } from "../../oci/digest.ts";
import type { RepositoryName } from "../../oci/repository-name.ts";

export type Upload = {
  readonly id: string;
  readonly name: RepositoryName;
  readonly file: string;
  sizeBytes: number;
  /** A request is writing to the file, or moving it to storage. */
  busy: boolean;
};

/** Enough for any client; an upload that nobody finishes gives way to newer ones. */
const MAX_OPEN_UPLOADS = 1000;

/** The sessions of blob uploads, each with one file that grows. */
export class Uploads {
  readonly #open = new Map<string, Upload>();
  readonly #stagingDir: string;
  readonly #secret = randomBytes(32);

  constructor(stagingDir: string) {
    this.#stagingDir = stagingDir;
  }

  async start(name: RepositoryName): Promise<Upload> {
    const id = randomUUID();
    const upload: Upload = { id, name, file: join(this.#stagingDir, id), sizeBytes: 0, busy: false };
    await mkdir(this.#stagingDir, { recursive: true });
    await writeFile(upload.file, "");
    this.#open.set(id, upload);
    const [oldest] = this.#open.values();
    if (this.#open.size > MAX_OPEN_UPLOADS && oldest !== undefined) await this.end(oldest);
    return upload;
  }

  /** An upload is of one repository: under any other name it is not there. */
  find(name: RepositoryName, id: string): Upload | undefined {
    const upload = this.#open.get(id);
    return upload?.name === name ? upload : undefined;
  }

  async end(upload: Upload): Promise<void> {
    this.#open.delete(upload.id);
    await rm(upload.file, { force: true });
  }

  /**
   * The push location's `_state`: opaque to everyone else, and in Go's padded base64url as distribution sends it, so that
   * clients and proxies meet its `=` and `%3D`.
   */
  state({ id, name, sizeBytes }: Upload): string {
    const message = Buffer.from(JSON.stringify({ Name: name, UUID: id, Offset: sizeBytes }));
    const text = Buffer.concat([this.#mac(message), message]).toString("base64url");
    return text.padEnd(Math.ceil(text.length / 4) * 4, "=");
  }

  /** The offset that the client believes in; null when the state is not ours, or of another upload. */
  stateOffset(state: string, { id, name }: Upload): number | null {
    const bytes = Buffer.from(state, "base64url");
    const [mac, message] = [bytes.subarray(0, 32), bytes.subarray(32)];
    if (mac.length < 32 || !timingSafeEqual(mac, this.#mac(message))) return null;
    const { Name, UUID, Offset } = JSON.parse(message.toString("utf8")) as Record<string, unknown>;
    return Name === name && UUID === id && typeof Offset === "number" ? Offset : null;
  }

  #mac(message: Buffer): Buffer {
    return createHmac("sha256", this.#secret).update(message).digest();
  }
}

/** Streams the body to the end of the file. What arrived before a client left stays, and counts. */
export async function appendBody(upload: Upload, request: IncomingMessage): Promise<void> {
  try {
    await pipeline(request, createWriteStream(upload.file, { flags: "a" }));
  } finally {
    upload.sizeBytes = await stat(upload.file).then(
      ({ size }) => size,
      () => 0,
    );
  }
}

export async function fileMatches(file: string, digest: Digest): Promise<boolean> {
  const { algorithm, encoded } = digestParts(digest);
  const hash = createHash(algorithm);
  await pipeline(createReadStream(file), hash);
  return hash.digest("hex") === encoded;
}
