import { err, ok, type Result } from "../lib/result.ts";
import { type Digest, parseDigest } from "./digest.ts";
import type { Endpoint, Mount, RepositoryEndpoint } from "./endpoint.ts";
import type { OciError } from "./errors.ts";
import { parseGitlabEndpoint } from "./parse-gitlab-endpoint.ts";
import { allowed, notFound, type Parsed, parseName, parseOnce } from "./parse-steps.ts";
import { parameter, withoutParameters } from "./query.ts";
import { parseReference } from "./reference.ts";
import { parseRepositoryName } from "./repository-name.ts";

/**
 * Method and URL to the one Endpoint they mean, or the error that answers them. The runtime has resolved dot segments before;
 * all else that is not canonical is refused here, before any look-up.
 */
export function parseEndpoint(method: string, url: URL): Result<Endpoint, OciError> {
  const query = url.search.slice(1);
  const path = url.pathname;
  if (path === "/jwt/auth") {
    return allowed(method, ["GET", "HEAD", "POST"], (known) => ok({ kind: "token", method: known, query }));
  }
  if (path.startsWith("/gitlab/v1/")) return parseGitlabEndpoint(method, path.slice("/gitlab/v1/".length), query);
  if (!path.startsWith("/v2/")) return err(notFound(path));
  return parseRegistryPath(method, path.slice("/v2/".length), query);
}

function parseRegistryPath(method: string, path: string, query: string): Result<Endpoint, OciError> {
  if (path === "") return allowed(method, ["GET", "HEAD"], (known) => ok({ kind: "base", method: known, query }));
  if (path === "_catalog") {
    return allowed(method, ["GET"], (known) => {
      const page = parsePage(query);
      return page.ok ? ok({ kind: "catalog", method: known, ...page.value }) : page;
    });
  }
  return parseRepositoryPath(method, path.split("/"), query);
}

/** From the right, for a repository's components may be called `manifests`, `blobs` or `uploads` themselves. */
function parseRepositoryPath(method: string, segments: readonly string[], query: string): Parsed {
  const [third = "", second = "", last = ""] = ["", "", ...segments].slice(-3);
  const nameBefore = (count: number) => segments.slice(0, -count).join("/");
  if (second === "tags" && last === "list") return parseTags(method, nameBefore(2), query);
  if (second === "manifests") return parseManifest(method, nameBefore(2), last, query);
  if (second === "referrers") return parseReferrers(method, nameBefore(2), last, query);
  if (third === "blobs" && second === "uploads") {
    const name = nameBefore(3);
    return last === "" ? parseUploadStart(method, name, query) : parseUpload(method, name, last, query);
  }
  if (second === "blobs" && last === "uploads") return parseUploadStart(method, nameBefore(2), query);
  if (second === "blobs") return parseBlob(method, nameBefore(2), last, query);
  return err(notFound(`/v2/${segments.join("/")}`));
}

function parseTags(method: string, name: string, query: string): Parsed {
  return parseName(name, (parsed) =>
    allowed(method, ["GET"], (known) => {
      const page = parsePage(query);
      return page.ok ? ok({ kind: "tags", method: known, name: parsed, ...page.value }) : page;
    }),
  );
}

function parseManifest(method: string, name: string, segment: string, query: string): Parsed {
  return parseName(name, (parsed) =>
    allowed(method, ["GET", "HEAD", "PUT", "DELETE"], (known) => {
      const text = unescapeColon(segment);
      const reference = parseReference(text);
      if (reference.ok) return ok({ kind: "manifest", method: known, name: parsed, reference: reference.value, query });
      // Registries have no such route, so they answer 404 for a tag that cannot exist.
      return err({ code: text.includes(":") ? "DIGEST_INVALID" : "MANIFEST_UNKNOWN", message: reference.error });
    }),
  );
}

function parseReferrers(method: string, name: string, segment: string, query: string): Parsed {
  return parseName(name, (parsed) =>
    allowed(method, ["GET"], (known) =>
      withDigest(segment, (digest) => ok({ kind: "referrers", method: known, name: parsed, digest, query })),
    ),
  );
}

function parseBlob(method: string, name: string, segment: string, query: string): Parsed {
  return parseName(name, (parsed) =>
    allowed(method, ["GET", "HEAD", "DELETE"], (known) =>
      withDigest(segment, (digest) => ok({ kind: "blob", method: known, name: parsed, digest, query })),
    ),
  );
}

function parseUploadStart(method: string, name: string, query: string): Parsed {
  return parseName(name, (parsed) =>
    allowed(method, ["POST"], (known) => {
      const once = parseOnce(query, ["digest", "mount", "from"]);
      if (!once.ok) return once;
      const { digest, mount } = once.value;
      return ok({
        kind: "upload-start",
        method: known,
        name: parsed,
        digest,
        mount: mount === null ? null : parseMount(mount, once.value.from),
        // Without `mount`, a `from` means nothing to a registry but a demand for one more right.
        query: withoutParameters(query, ["digest", "mount", "from"]),
      });
    }),
  );
}

function parseMount(digest: string, from: string | null): Mount {
  if (from === null) return { digest, from: { kind: "absent" } };
  const name = parseRepositoryName(from);
  return { digest, from: name.ok ? { kind: "name", name: name.value } : { kind: "unusable" } };
}

// What distribution's and GitLab's own session ids are made of, and what RFC 3986 §2.3 leaves unescaped.
const uploadGrammar = /^[A-Za-z0-9._~=-]{1,512}$/;

function parseUpload(method: string, name: string, upload: string, query: string): Parsed {
  return parseName(name, (parsed) =>
    allowed(method, ["GET", "PATCH", "PUT", "DELETE"], (known) => {
      if (!uploadGrammar.test(upload)) {
        return err({ code: "BLOB_UPLOAD_UNKNOWN", message: "upload is unknown; start one with POST …/blobs/uploads/" });
      }
      const once = parseOnce(query, ["digest"]);
      return once.ok
        ? ok({ kind: "upload", method: known, name: parsed, upload, query } satisfies RepositoryEndpoint)
        : once;
    }),
  );
}

function parsePage(query: string): Result<{ n: string | null; last: string | null; query: string }, OciError> {
  const once = parseOnce(query, ["n", "last"]);
  if (!once.ok) return once;
  return ok({
    n: parameter(query, "n"),
    last: parameter(query, "last"),
    query: withoutParameters(query, ["n", "last"]),
  });
}

function withDigest<T>(segment: string, next: (digest: Digest) => Result<T, OciError>): Result<T, OciError> {
  const digest = parseDigest(unescapeColon(segment));
  return digest.ok ? next(digest.value) : err({ code: "DIGEST_INVALID", message: digest.error });
}

/** Some clients escape a digest's colon, which RFC 3986 §3.3 allows; nothing else in a reference may be escaped. */
const unescapeColon = (segment: string): string => segment.replace(/%3a/i, ":");
