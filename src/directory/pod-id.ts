import type { Brand } from "../lib/brand.ts";
import { err, ok, type Result } from "../lib/result.ts";

/** A Pod's name in the directory, in bundles and in logs. Only {@link parsePodId} makes one. */
export type PodId = Brand<string, "PodId">;

const MAX_POD_ID_CHARACTERS = 63;

export function parsePodId(text: string): Result<PodId, string> {
  if (text.length <= MAX_POD_ID_CHARACTERS && /^[a-z0-9]+(-[a-z0-9]+)*$/.test(text)) return ok(text as PodId);
  return err(
    `Pod id "${text.slice(0, MAX_POD_ID_CHARACTERS)}" is malformed; want a-z and 0-9 in words joined by single hyphens`,
  );
}
