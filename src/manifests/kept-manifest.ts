import * as v from "valibot";
import { isTexts } from "../lib/json.ts";

/** `pull`: the Pod gave the manifest, with all of its headers. `push`: the Pod took the manifest, so the headers of a pull are not known. */
export type Source = "pull" | "push";

const detailsSchema = v.strictObject({
  source: v.picklist(["pull", "push"]),
  /** When the Pod was asked. */
  atMs: v.number(),
  /** The Pod that the manifest came from, and its registry (see `holderOf`). */
  holder: v.string(),
  bytes: v.number(),
  headers: v.custom<Readonly<Record<string, string>>>(isTexts),
});

/** A manifest from the location's cache. Its body must be read or cancelled. */
export type KeptManifest = v.InferOutput<typeof detailsSchema> & { readonly body: ReadableStream<Uint8Array> | null };

/** A manifest that should be kept. Its bytes are known to hash to its digest. */
export type ManifestCopy = {
  readonly source: Source;
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly askedAt: Date;
};

const detailsHeader = "X-Kept";

export function formatKept({ source, headers, bytes, askedAt }: ManifestCopy, holder: string): Response {
  const details = { source, atMs: askedAt.getTime(), holder, bytes: bytes.byteLength, headers };
  const type = { "Content-Type": "application/octet-stream", "Content-Length": String(bytes.byteLength) };
  return new Response(bytes, { headers: { ...type, [detailsHeader]: asciiJson(details) } });
}

/** Null if the entry does not have today's form: a cache outlives a deployment, so an older version may have written the entry. */
export function parseKept({ headers, body }: Response): KeptManifest | null {
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), detailsSchema), headers.get(detailsHeader));
  return parsed.success ? { ...parsed.output, body } : null;
}

/** Formats JSON in printable ASCII, because a header can have no other characters. */
const asciiJson = (value: unknown): string =>
  JSON.stringify(value).replace(/[^ -~]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
