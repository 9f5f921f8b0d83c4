import type { Digest } from "../oci/digest.ts";
import type { Prefix } from "../oci/repository-name.ts";
import type { PodId } from "./pod-id.ts";

/** The only place where KV keys are spelled; docs/directory-schema.md is its twin. */
export const directoryKey = "directory";
export const podKey = (id: PodId): string => `pod/${id}`;
export const routeKey = (prefix: Prefix): string => `route/${prefix}`;
export const tokenKeyKey = (kid: string): string => `key/${kid}`;
export const cellKey = (cell: string): string => `cell/${cell}`;
export const blockKey = (blocked: Prefix | Digest): string => `block/${blocked}`;
