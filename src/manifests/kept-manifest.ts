import * as v from "valibot";

/** `pull`: the Pod gave it, with all of its headers. `push`: the Pod took it, so how it would give it is not known. */
export type Source = "pull" | "push";

const detailsSchema = v.strictObject({
  source: v.picklist(["pull", "push"]),
  /** When the Pod was asked. */
  atMs: v.number(),
  /** The registry that it came from: a Pod's record may name another one later. */
  registry: v.string(),
  bytes: v.number(),
  headers: v.record(v.string(), v.string()),
});

/** A manifest as the Pod gave it. Its body has to be read or cancelled. */
export type KeptManifest = v.InferOutput<typeof detailsSchema> & { readonly body: ReadableStream<Uint8Array> | null };

/** A manifest that is to be kept. Its bytes hash to its digest. */
export type ManifestCopy = {
  readonly source: Source;
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly askedAt: Date;
};

const detailsHeader = "X-Kept";

/** The copy as the cache takes it: the bytes as the body, and everything else in one header. */
export function formatKept({ source, headers, bytes, askedAt }: ManifestCopy, registry: string): Response {
  const details = { source, atMs: askedAt.getTime(), registry, bytes: bytes.byteLength, headers };
  const type = { "Content-Type": "application/octet-stream", "Content-Length": String(bytes.byteLength) };
  return new Response(bytes, { headers: { ...type, [detailsHeader]: asciiJson(details) } });
}

/** Null for what is not written as it would be now, because a cache outlives a deployment. */
export function parseKept({ headers, body }: Response): KeptManifest | null {
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), detailsSchema), headers.get(detailsHeader));
  return parsed.success ? { ...parsed.output, body } : null;
}

/** JSON for a header, which can have no other characters. */
const asciiJson = (value: unknown): string =>
  JSON.stringify(value).replace(/[^ -~]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
