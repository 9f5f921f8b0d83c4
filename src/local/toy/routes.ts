import type { IncomingMessage } from "node:http";
import { err, ok, type Result } from "../../lib/result.ts";
import { type Digest, parseDigest } from "../../oci/digest.ts";
import { parseTag, type Tag } from "../../oci/reference.ts";
import { parseRepositoryName, type RepositoryName } from "../../oci/repository-name.ts";
import { failure } from "./errors.ts";
import { parseTarget, type ToyReply } from "./http.ts";

type Place = { readonly kind: "base" } | { readonly kind: "catalog" } | RepositoryPlace;

export type RepositoryPlace = { readonly name: RepositoryName } & (
  | { readonly kind: "blob"; readonly digest: Digest }
  | { readonly kind: "manifest"; readonly reference: { readonly tag: Tag } | { readonly digest: Digest } }
  | { readonly kind: "uploads" }
  | { readonly kind: "upload"; readonly id: string }
  | { readonly kind: "tags" }
  | { readonly kind: "referrers"; readonly digest: Digest }
);

export type Route = { readonly place: Place; readonly query: URLSearchParams };

/**
 * Reads the path as distribution's router does: it decodes the path once, and takes the longest name that fits. A test compares the names with those
 * of the edge's parser, which works in another way.
 */
export function parseRoute(request: IncomingMessage): Result<Route, ToyReply> {
  const target = parseTarget(request);
  if (target === null) return err(failure("NAME_INVALID"));
  const { path, query } = target;
  const place = parsePath(path);
  if (place.ok) return ok({ place: place.value, query });
  // Distribution's router redirects a path that has too many slashes or lacks its last slash.
  const ended = path.replace(/^\/+/, "/").replace(/\/+$/, "");
  const moved = [ended, `${ended}/`].find((candidate) => candidate !== path && parsePath(candidate).ok);
  const [, search] = /(\?.*)$/.exec(request.url ?? "") ?? [];
  return moved === undefined ? place : err({ status: 301, headers: { Location: encodeURI(moved) + (search ?? "") } });
}

function parsePath(path: string): Result<Place, ToyReply> {
  if (path === "/v2/") return ok({ kind: "base" });
  return path === "/v2/_catalog" ? ok({ kind: "catalog" }) : parsePlace(path);
}

const notFound: ToyReply = { status: 404, headers: { "Content-Type": "text/plain" }, body: "404 page not found\n" };

function parsePlace(path: string): Result<RepositoryPlace, ToyReply> {
  const uploads = /^\/v2\/(.*)\/blobs\/uploads\/([^/]*)$/.exec(path);
  if (uploads !== null) {
    const [, text = "", id = ""] = uploads;
    return withName(text, (name) => ok(id === "" ? { kind: "uploads", name } : { kind: "upload", name, id }));
  }
  const tags = /^\/v2\/(.*)\/tags\/list$/.exec(path);
  if (tags !== null) return withName(tags[1] ?? "", (name) => ok({ kind: "tags", name }));
  const [, text = "", kind, reference = ""] = /^\/v2\/(.*)\/(blobs|manifests|referrers)\/([^/]+)$/.exec(path) ?? [];
  if (kind === undefined) return err(notFound);
  return withName(text, (name) => {
    if (kind === "manifests" && !reference.includes(":")) {
      const tag = parseTag(reference);
      return tag.ok ? ok({ kind: "manifest", name, reference: { tag: tag.value } }) : err(failure("TAG_INVALID"));
    }
    const digest = parseDigest(reference);
    // We refuse all other algorithms, because the toy registry could not check their digests.
    if (!digest.ok || !/^sha(256|512):/.test(digest.value)) return err(failure("DIGEST_INVALID"));
    if (kind === "manifests") return ok({ kind: "manifest", name, reference: { digest: digest.value } });
    return ok({ kind: kind === "blobs" ? "blob" : "referrers", name, digest: digest.value });
  });
}

function withName(
  text: string,
  next: (name: RepositoryName) => Result<RepositoryPlace, ToyReply>,
): Result<RepositoryPlace, ToyReply> {
  const name = parseRepositoryName(text);
  return name.ok ? next(name.value) : err(failure("NAME_INVALID", { name: text }));
}
