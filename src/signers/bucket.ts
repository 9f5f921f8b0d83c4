import * as v from "valibot";
import { encodePath } from "./encode.ts";

/** Where an object store has its buckets: in the path, before the host, or as the endpoint itself (a host name bound to the bucket). */
export const bucketEntries = {
  bucket: v.pipe(v.string(), v.regex(/^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$/)),
  addressing: v.optional(v.picklist(["path", "virtual-host", "bound-host"]), "path"),
};
type BucketConfig = {
  readonly endpoint: string;
  readonly bucket: string;
  readonly addressing: "path" | "virtual-host" | "bound-host";
};

export function bucketOrigin({ endpoint, bucket, addressing }: BucketConfig): string {
  const { protocol, host } = new URL(endpoint);
  return addressing === "virtual-host" ? `${protocol}//${bucket}.${host}` : `${protocol}//${host}`;
}

/** The object's path on {@link bucketOrigin}, escaped. */
export const objectPath = ({ bucket, addressing }: BucketConfig, key: string): string =>
  encodePath(addressing === "path" ? `/${bucket}/${key}` : `/${key}`);
