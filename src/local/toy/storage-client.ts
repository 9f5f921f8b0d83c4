import { createReadStream } from "node:fs";
import { request as httpRequest } from "node:http";
import { type Digest, digestParts } from "../../oci/digest.ts";
import { presign, type SigningCredentials } from "./sigv4.ts";

export type ToyStorageClientOptions = SigningCredentials & {
  /** Origin of the storage, which is also where clients are redirected. */
  readonly endpoint: string;
  readonly bucket: string;
};

/** Distribution's default life of a redirect. */
const REDIRECT_SECONDS = 1200;
const PUT_SECONDS = 60;
const IDLE_TIMEOUT_MS = 30_000;

/** Distribution's path of a blob below an empty root directory. It names no repository. */
function blobPath({ bucket }: ToyStorageClientOptions, digest: Digest): string {
  const { algorithm, encoded } = digestParts(digest);
  return `/${bucket}/docker/registry/v2/blobs/${algorithm}/${encoded.slice(0, 2)}/${encoded}/data`;
}

/** Good for `method` alone, for that is signed. */
export function redirectUrl(options: ToyStorageClientOptions, method: "GET" | "HEAD", digest: Digest): string {
  const { endpoint } = options;
  const path = blobPath(options, digest);
  return presign(options, { method, endpoint, path, expiresSeconds: REDIRECT_SECONDS, now: new Date() });
}

/** Streams the file to the blob's place, and throws when storage does not take it. */
export async function putBlob(
  options: ToyStorageClientOptions,
  digest: Digest,
  file: string,
  sizeBytes: number,
): Promise<void> {
  const { endpoint } = options;
  const path = blobPath(options, digest);
  const url = presign(options, { method: "PUT", endpoint, path, expiresSeconds: PUT_SECONDS, now: new Date() });
  const request = httpRequest(url, {
    method: "PUT",
    // Else a server that refuses the PUT closes in the middle of its body, and the refusal is lost in a reset (RFC 9112 §9.6).
    headers: { "Content-Length": String(sizeBytes), Connection: "keep-alive" },
    // A connection of its own: one that was used before may be closing as the body starts, and a PUT is sent once.
    agent: false,
  });
  request.setTimeout(IDLE_TIMEOUT_MS, () => request.destroy(new Error(`storage was silent for ${IDLE_TIMEOUT_MS} ms`)));
  const source = createReadStream(file);
  // The answer decides, not the end of the stream: a server may answer and close before our side has noted its own end.
  const status = await new Promise<number>((resolve, reject) => {
    request.on("error", reject);
    request.once("response", (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    source.once("error", (reason) => request.destroy(reason));
    source.pipe(request);
  }).finally(() => source.destroy());
  if (status === 200) return;
  request.destroy();
  throw new Error(`storage answered ${status} to the PUT of ${digest}`);
}
