/** The state of blob uploads. Each upload is a session with one file that grows. */
import { createHash, createHmac, randomBytes, randomUUID, timingSafeEqual } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, rm, stat, writeFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { type Digest, parseDigest } from "../../oci/digest.ts";
import type { RepositoryName } from "../../oci/repository-name.ts";

export type Upload = {
  readonly id: string;
  readonly name: RepositoryName;
  readonly file: string;
  sizeBytes: number;
  /** True while a request writes to the file or moves it to storage. */
  busy: boolean;
};

/** At most this many uploads are open. If one more begins, the oldest is dropped, because its client has most likely given it up. */
const MAX_OPEN_UPLOADS = 1000;

export class UploadSessions {
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

  /** An upload belongs to one repository, so it is not found under any other name. */
  find(name: RepositoryName, id: string): Upload | undefined {
    const upload = this.#open.get(id);
    return upload?.name === name ? upload : undefined;
  }

  async end(upload: Upload): Promise<void> {
    this.#open.delete(upload.id);
    await rm(upload.file, { force: true });
  }

  /**
   * Returns the value of `_state` in a push location. Like distribution's, it is padded base64url, so clients and proxies have to handle `=` and
   * `%3D`.
   */
  state({ id, name, sizeBytes }: Upload): string {
    const message = Buffer.from(JSON.stringify({ Name: name, UUID: id, Offset: sizeBytes }));
    const text = Buffer.concat([this.#mac(message), message]).toString("base64url");
    return text.padEnd(Math.ceil(text.length / 4) * 4, "=");
  }

  /** Returns the offset in the state. Null if this is not a state that we made for this upload. */
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

/** Appends the body to the file. If the client leaves early, the bytes that have arrived stay in the file, and the client can continue after them. */
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

export async function digestFile(file: string, algorithm: "sha256" | "sha512"): Promise<Digest> {
  const hash = createHash(algorithm);
  await pipeline(createReadStream(file), hash);
  const digest = parseDigest(`${algorithm}:${hash.digest("hex")}`);
  if (!digest.ok) throw new Error(digest.error);
  return digest.value;
}
