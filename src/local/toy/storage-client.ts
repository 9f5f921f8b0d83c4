import { createReadStream } from "node:fs";
import { request as httpRequest } from "node:http";
import { type Digest, digestParts } from "../../oci/digest.ts";
import { presignedUrl, type SigningCredentials } from "./sigv4.ts";

export type ToyStorageClientOptions = SigningCredentials & {
  /** The origin of the storage. Clients are redirected to the same origin. */
  readonly endpoint: string;
  readonly bucket: string;
};

/** Distribution's own redirects are valid this long by default. */
const REDIRECT_SECONDS = 1200;
const PUT_SECONDS = 60;
const IDLE_TIMEOUT_MS = 30_000;

/** Returns the blob's path in the bucket. It is distribution's own path, and all repositories share it. */
function blobPath({ bucket }: ToyStorageClientOptions, digest: Digest): string {
  const { algorithm, encoded } = digestParts(digest);
  return `/${bucket}/docker/registry/v2/blobs/${algorithm}/${encoded.slice(0, 2)}/${encoded}/data`;
}

/** Returns a URL that is valid only for `method`, because the method is signed. */
export function redirectUrl(options: ToyStorageClientOptions, method: "GET" | "HEAD", digest: Digest): string {
  const { endpoint } = options;
  const path = blobPath(options, digest);
  return presignedUrl(options, { method, endpoint, path, expiresSeconds: REDIRECT_SECONDS, now: new Date() });
}

/** Throws if the storage does not take the file. */
export async function putBlob(
  options: ToyStorageClientOptions,
  digest: Digest,
  file: string,
  sizeBytes: number,
): Promise<void> {
  const { endpoint } = options;
  const path = blobPath(options, digest);
  const url = presignedUrl(options, { method: "PUT", endpoint, path, expiresSeconds: PUT_SECONDS, now: new Date() });
  const request = httpRequest(url, {
    method: "PUT",
    // Without keep-alive, a server that refuses the PUT closes the connection while we send the body. Then we see a reset connection, and not the
    // refusal (RFC 9112 §9.6).
    headers: { "Content-Length": String(sizeBytes), Connection: "keep-alive" },
    // The PUT gets a new connection, because the server may be closing a used one, and we send a PUT only once.
    agent: false,
  });
  request.setTimeout(IDLE_TIMEOUT_MS, () => request.destroy(new Error(`storage was silent for ${IDLE_TIMEOUT_MS} ms`)));
  const source = createReadStream(file);
  // We wait for the answer and not for the end of our stream. A server can answer and close before it has read all, and then the stream never ends.
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
