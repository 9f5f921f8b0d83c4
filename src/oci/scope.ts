import { type Endpoint, hasRepository, type RepositoryEndpoint } from "./endpoint.ts";

/** One resource and what may be done to it: a `scope` on its way to a token service, an entry of `access` on its way back. */
export type Access = { readonly type: string; readonly name: string; readonly actions: readonly string[] };

/**
 * `type:name:action,action` of distribution's token scope grammar. The name may hold colons (`host:5000/a`), so the type
 * ends at the first colon and the actions begin after the last. Null for text with fewer than two colons.
 */
export function parseScope(text: string): Access | null {
  const first = text.indexOf(":");
  const last = text.lastIndexOf(":");
  if (first <= 0 || last === first) return null;
  const actions = text
    .slice(last + 1)
    .split(",")
    .filter((action) => action !== "");
  return { type: text.slice(0, first), name: text.slice(first + 1, last), actions };
}

export const formatScope = ({ type, name, actions }: Access): string => `${type}:${name}:${actions.join(",")}`;

/** Every scope of the values, which clients send repeated, space-joined, or both (token spec, "Requesting a Token"). */
export const parseScopes = (values: readonly string[]): readonly Access[] =>
  values
    .flatMap((value) => value.split(/\s+/))
    .flatMap((text) => parseScope(text) ?? [])
    .filter(({ name, actions }) => name !== "" && actions.length > 0);

/** Of a repository, also of one of a class: docker asks for `repository(plugin)` (token scope grammar, `resourceclass`). */
export const isRepository = ({ type }: Access): boolean => /^repository(\([a-z0-9]+\))?$/.test(type);

/** Push, delete and `*` change something; `*` is how clients ask for all. */
export const writes = ({ actions }: Access): boolean => actions.some((action) => action !== "pull");

/** Such a request changes nothing (RFC 9110 §9.2.1). */
export const isRead = (method: string): boolean => method === "GET" || method === "HEAD";

/** Whether `granted` allows all that `wanted` names: names match exactly, `*` allows any action (distribution, token access). */
export function covers(granted: readonly Access[], wanted: Access): boolean {
  const actions = granted
    .filter((access) => access.type === wanted.type && access.name === wanted.name)
    .flatMap((access) => access.actions);
  return actions.includes("*") || wanted.actions.every((action) => actions.includes(action));
}

/** What distribution and GitLab demand of a token for this endpoint, method by method. */
export function requiredAccess(endpoint: Endpoint): readonly Access[] {
  if (hasRepository(endpoint)) return repositoryAccess(endpoint);
  if (endpoint.kind === "catalog") return [{ type: "registry", name: "catalog", actions: ["*"] }];
  if (endpoint.kind === "gitlab-statistics") return [{ type: "registry", name: "statistics", actions: ["*"] }];
  return [];
}

function repositoryAccess(endpoint: RepositoryEndpoint): readonly Access[] {
  const { name } = endpoint;
  const own: Access = { type: "repository", name, actions: methodActions(endpoint.method) };
  const pull = (source: string): Access => ({ type: "repository", name: source, actions: ["pull"] });
  if (endpoint.kind === "gitlab-descendants") return [own, pull(`${name}/*`)];
  if (endpoint.kind === "gitlab-repository" && endpoint.method === "PATCH") return [own, pull(`${name}/*`)];
  // end-11: a mount reads its source.
  const from = endpoint.kind === "upload-start" ? endpoint.mount?.from : undefined;
  return from?.kind === "name" && from.name !== name ? [own, pull(from.name)] : [own];
}

function methodActions(method: RepositoryEndpoint["method"]): readonly string[] {
  if (isRead(method)) return ["pull"];
  return method === "DELETE" ? ["delete"] : ["pull", "push"];
}
