import { err, ok } from "../lib/result.ts";
import { allowed, notFound, type Parsed, parseName } from "./parse-steps.ts";
import { parseTag } from "./reference.ts";

/**
 * The path below `/gitlab/v1/`, in the order of GitLab's own router: tag list, tag detail, repository. GitLab redirects a path
 * without its last slash; we read it as the same endpoint, for a redirected PATCH would become a GET.
 */
export function parseGitlabEndpoint(method: string, path: string, query: string): Parsed {
  if (path === "")
    return allowed(method, ["GET", "HEAD"], (known) => ok({ kind: "gitlab-base", method: known, query }));
  const trimmed = path.endsWith("/") ? path.slice(0, -1) : path;
  if (trimmed === "statistics")
    return allowed(method, ["GET"], (known) => ok({ kind: "gitlab-statistics", method: known, query }));
  const descendants = /^repository-paths\/(.*)\/repositories\/list$/.exec(trimmed);
  if (descendants !== null) {
    return parseName(descendants[1] ?? "", (name) =>
      allowed(method, ["GET"], (known) => ok({ kind: "gitlab-descendants", method: known, name, query })),
    );
  }
  if (!trimmed.startsWith("repositories/")) return err(notFound(`/gitlab/v1/${path}`));
  return parseRepositoryPath(method, trimmed.slice("repositories/".length), query);
}

function parseRepositoryPath(method: string, path: string, query: string): Parsed {
  const tags = /^(.*)\/tags\/list$/.exec(path);
  if (tags !== null) {
    return parseName(tags[1] ?? "", (name) =>
      allowed(method, ["GET"], (known) => ok({ kind: "gitlab-tags", method: known, name, query })),
    );
  }
  const detail = /^(.*)\/tags\/detail\/([^/]*)$/.exec(path);
  if (detail !== null) return parseTagDetail(method, detail[1] ?? "", detail[2] ?? "", query);
  return parseName(path, (name) =>
    allowed(method, ["GET", "PATCH"], (known) => ok({ kind: "gitlab-repository", method: known, name, query })),
  );
}

function parseTagDetail(method: string, text: string, segment: string, query: string): Parsed {
  return parseName(text, (name) =>
    allowed(method, ["GET"], (known) => {
      const tag = parseTag(segment);
      if (!tag.ok) return err({ code: "MANIFEST_UNKNOWN", message: tag.error });
      return ok({ kind: "gitlab-tag", method: known, name, tag: tag.value, query });
    }),
  );
}
