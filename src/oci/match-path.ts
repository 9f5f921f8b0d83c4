import type { Endpoint } from "./endpoint.ts";

type Kind = Endpoint["kind"];

/**
 * The path and the methods of every endpoint, in the order in which they are tried. `<name>` is one or more segments, any other `<…>` is one segment,
 * and the slash in `[/]` may be missing.
 *
 * GitLab redirects a path that lacks its last slash. We accept both forms, because clients turn a redirected PATCH into a GET.
 */
const endpoints: { readonly [K in Kind]: { readonly path: string; readonly methods: readonly MethodOf<K>[] } } = {
  token: { path: "/jwt/auth", methods: ["GET", "HEAD", "POST"] },
  base: { path: "/v2/", methods: ["GET", "HEAD"] },
  catalog: { path: "/v2/_catalog", methods: ["GET"] },
  tags: { path: "/v2/<name>/tags/list", methods: ["GET"] },
  manifest: { path: "/v2/<name>/manifests/<reference>", methods: ["GET", "HEAD", "PUT", "DELETE"] },
  referrers: { path: "/v2/<name>/referrers/<digest>", methods: ["GET"] },
  "upload-start": { path: "/v2/<name>/blobs/uploads[/]", methods: ["POST"] },
  upload: { path: "/v2/<name>/blobs/uploads/<upload>", methods: ["GET", "HEAD", "PATCH", "PUT", "DELETE"] },
  blob: { path: "/v2/<name>/blobs/<digest>", methods: ["GET", "HEAD", "DELETE"] },
  "gitlab-base": { path: "/gitlab/v1/", methods: ["GET", "HEAD"] },
  "gitlab-statistics": { path: "/gitlab/v1/statistics[/]", methods: ["GET"] },
  "gitlab-descendants": { path: "/gitlab/v1/repository-paths/<name>/repositories/list[/]", methods: ["GET"] },
  "gitlab-tags": { path: "/gitlab/v1/repositories/<name>/tags/list[/]", methods: ["GET"] },
  "gitlab-tag": { path: "/gitlab/v1/repositories/<name>/tags/detail/<tag>[/]", methods: ["GET"] },
  "gitlab-repository": { path: "/gitlab/v1/repositories/<name>[/]", methods: ["GET", "PATCH"] },
};
type MethodOf<K extends Kind> = Extract<Endpoint, { readonly kind: K }>["method"];

/** The parts of a path before they are parsed. `name` is null if the endpoint has no repository. */
export type PathMatch = { readonly kind: Kind; readonly name: string | null; readonly last: string };

type Pattern = {
  readonly kind: Kind;
  readonly before: string;
  /** The index of the name's first segment. */
  readonly nameStart: number;
  /** The segments after the name. Null if the path has no name. */
  readonly after: readonly string[] | null;
  readonly mayEndInSlash: boolean;
};

const patterns = (Object.keys(endpoints) as Kind[]).map((kind): Pattern => {
  const { path } = endpoints[kind];
  const [before = "", after] = path.replace("[/]", "").split("<name>");
  const nameStart = before.split("/").length - 1;
  return { kind, before, nameStart, after: after?.split("/").slice(1) ?? null, mayEndInSlash: path.endsWith("[/]") };
});

export const methodsOf = (kind: Kind): readonly string[] => endpoints[kind].methods;

export function matchPath(path: string): PathMatch | null {
  const segments = path.split("/");
  for (const pattern of patterns) {
    const match = matchPattern(pattern, path, segments);
    if (match !== null) return match;
  }
  return null;
}

function matchPattern(pattern: Pattern, path: string, segments: readonly string[]): PathMatch | null {
  const { kind, before, after, mayEndInSlash } = pattern;
  const hasSlash = mayEndInSlash && path.endsWith("/");
  if (after === null) return (hasSlash ? path.slice(0, -1) : path) === before ? { kind, name: null, last: "" } : null;
  const end = segments.length - (hasSlash ? 1 : 0);
  // We count from the end, because a component of a repository name may also be `manifests`, `blobs` or `tags`.
  const nameEnd = end - after.length;
  // Under `/v2/`, a path fits even without a name, so that `/v2/tags/list` is refused for its empty name. Under `/gitlab/v1/`, it must have a name,
  // because GitLab reads `/gitlab/v1/repositories/tags/list` as the repository `tags/list`.
  const fewest = before === "/v2/" ? 0 : 1;
  if (nameEnd - pattern.nameStart < fewest || !path.startsWith(before)) return null;
  if (!after.every((word, at) => word.startsWith("<") || word === segments[nameEnd + at])) return null;
  return { kind, name: segments.slice(pattern.nameStart, nameEnd).join("/"), last: segments[end - 1] ?? "" };
}
