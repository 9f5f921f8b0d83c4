import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, rename, rm, stat } from "node:fs/promises";
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { listener, send, type ToyReply } from "./http.ts";
import type { SigningCredentials } from "./sigv4.ts";
import { type StorageError, verifySignature } from "./sigv4-verify.ts";

/** The toy storage is an S3 bucket in a folder of files, with path-style URLs that must be presigned. It has no listing and no multipart upload. */
type ToyStorageOptions = SigningCredentials & {
  readonly bucket: string;
  readonly dir: string;
  readonly now?: () => Date;
};

export function createToyStorage(options: ToyStorageOptions): RequestListener {
  return listener(async (request, response) => {
    const verified = verifySignature(request, options, options.now?.() ?? new Date());
    if (!verified.ok) return send(response, errorReply(verified.error));
    const file = objectFile(options, verified.value);
    if (file === null) return send(response, errorReply(noSuchKey));
    if (request.method === "GET" || request.method === "HEAD") return serveObject(file, request, response);
    if (request.method === "PUT") return send(response, await putObject(options.dir, file, request));
    if (request.method !== "DELETE") return send(response, errorReply(methodNotAllowed));
    await rm(file, { force: true });
    send(response, { status: 204 });
  });
}

const noSuchKey: StorageError = { status: 404, code: "NoSuchKey", message: "The specified key does not exist." };
const methodNotAllowed: StorageError = {
  status: 405,
  code: "MethodNotAllowed",
  message: "The specified method is not allowed against this resource.",
};
const missingLength: StorageError = {
  status: 411,
  code: "MissingContentLength",
  message: "You must provide the Content-Length HTTP header.",
};
const badRange: StorageError = {
  status: 416,
  code: "InvalidRange",
  message: "The requested range is not satisfiable",
};

const escapeXml = (text: string): string => text.replace(/[<>&"]/g, (char) => `&#${char.charCodeAt(0)};`);

function errorReply({ status, code, message }: StorageError, headers: Readonly<Record<string, string>> = {}): ToyReply {
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${escapeXml(message)}</Message></Error>`;
  return { status, headers: { "Content-Type": "application/xml", ...headers }, body };
}

/** Returns the file of an object. Returns null for another bucket, and for the few keys that S3 could store but a file system cannot. */
function objectFile({ bucket, dir }: ToyStorageOptions, path: string): string | null {
  if (!path.startsWith(`/${bucket}/`)) return null;
  const segments = path.slice(bucket.length + 2).split("/");
  const unusable = (segment: string) =>
    segment === "" || segment === "." || segment === ".." || segment.length > 255 || segment.includes("\0");
  return segments.some(unusable) ? null : join(dir, "objects", ...segments);
}

async function serveObject(file: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const size = await stat(file).then(
    (found) => (found.isFile() ? found.size : null),
    () => null,
  );
  if (size === null) return send(response, errorReply(noSuchKey));
  const range = parseRange(request.headers.range, size);
  if (range === "unsatisfiable") return send(response, errorReply(badRange, { "Content-Range": `bytes */${size}` }));
  const { start, end } = range ?? { start: 0, end: size - 1 };
  response.writeHead(range === null ? 200 : 206, {
    "Accept-Ranges": "bytes",
    "Content-Type": "application/octet-stream",
    "Content-Length": String(end - start + 1),
    ...(range === null ? {} : { "Content-Range": `bytes ${start}-${end}/${size}` }),
  });
  if (request.method === "HEAD" || size === 0) {
    response.end();
    return;
  }
  await pipeline(createReadStream(file, { start, end }), response);
}

type ByteRange = { readonly start: number; readonly end: number };

/** Reads a Range header (RFC 9110 §14.1.2). Null means the whole object. S3 also sends the whole object for several ranges or a malformed header. */
function parseRange(header: string | undefined, size: number): ByteRange | "unsatisfiable" | null {
  const [, first = "", last = ""] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? "") ?? [];
  if (first === "" && last === "") return null;
  if (first === "") {
    const start = Math.max(0, size - Number(last));
    return start < size ? { start, end: size - 1 } : "unsatisfiable";
  }
  const start = Number(first);
  if (last !== "" && Number(last) < start) return null;
  const end = last === "" ? size - 1 : Math.min(Number(last), size - 1);
  return start < size ? { start, end } : "unsatisfiable";
}

/** Writes the object to another file and then renames that file, so that the object appears whole or not at all. */
async function putObject(dir: string, file: string, request: IncomingMessage): Promise<ToyReply> {
  if (request.headers["content-length"] === undefined) return errorReply(missingLength);
  const incoming = join(dir, "incoming", crypto.randomUUID());
  await mkdir(dirname(incoming), { recursive: true });
  await mkdir(dirname(file), { recursive: true });
  try {
    await pipeline(request, createWriteStream(incoming));
    await rename(incoming, file);
  } finally {
    await rm(incoming, { force: true });
  }
  return { status: 200 };
}
