import type { Brand } from "../lib/brand.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { type Digest, isDigestLike, parseDigest } from "./digest.ts";

/** A `<tag>` of the distribution spec. Only {@link parseTag} makes one. */
export type Tag = Brand<string, "Tag">;

/**
 * A text that looks like a digest but breaks the rules of its algorithm. The edge passes it on, because registries differ in whether they answer it
 * with 400, 404 or 500.
 */
export type DigestLike = Brand<string, "DigestLike">;

/** The last segment of a manifest's path, `<tag-or-digest>`. A text with a colon is not a tag, because no tag contains a colon. */
export type Reference = Tag | Digest | DigestLike;

// OCI distribution spec, "Pulling manifests": the grammar of <reference> as a tag.
const tagGrammar = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;

export function parseTag(text: string): Result<Tag, string> {
  if (tagGrammar.test(text)) return ok(text as Tag);
  return err(`tag "${text.slice(0, 128)}" is malformed; want at most 128 of A-Z a-z 0-9 _ . - and no leading . or -`);
}

export function parseReference(text: string): Result<Reference, string> {
  if (!text.includes(":")) return parseTag(text);
  const digest = parseDigest(text);
  return digest.ok || !isDigestLike(text) ? digest : ok(text as DigestLike);
}

export const isDigest = (reference: Reference): reference is Digest => parseDigest(reference).ok;

export const isTag = (reference: Reference): reference is Tag => !reference.includes(":");
