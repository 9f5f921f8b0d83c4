import { type Endpoint, hasRepository, type NamelessEndpoint, type RepositoryEndpoint } from "./endpoint.ts";

/** One resource and what may be done to it: a `scope` in a token request, or an entry of `access` in a token. */
export type Access = { readonly type: string; readonly name: string; readonly actions: readonly string[] };

/** A scope with more actions is ignored. Pods know only five actions. */
export const MAX_ACTIONS = 20;
/**
 * Enough for the longest repository name and all actions. If the URL of a token request becomes too long, a proxy in front of a token service may
 * answer 502.
 */
const MAX_SCOPE_CHARACTERS = 400;

/**
 * Parses `type:name:action,action` (distribution's token scope grammar), whose name may contain colons (`host:5000/a`). Null if the text has another
 * form. Null also if it is too long or has too many actions or a control character: some token services fail at such a scope.
 */
export function parseScope(text: string): Access | null {
  if (text.length > MAX_SCOPE_CHARACTERS || /\p{Cc}/u.test(text)) return null;
  const first = text.indexOf(":");
  const last = text.lastIndexOf(":");
  if (first <= 0 || last === first) return null;
  const actions = text.slice(last + 1).split(",", MAX_ACTIONS + 1);
  if (actions.length > MAX_ACTIONS) return null;
  const different = new Set(actions.filter((action) => action !== ""));
  return { type: text.slice(0, first), name: text.slice(first + 1, last), actions: [...different] };
}

export const formatScope = ({ type, name, actions }: Access): string => `${type}:${name}:${actions.join(",")}`;

/**
 * Returns each different scope in the values of the parameter `scope`. Clients repeat the parameter, join scopes by spaces, or do both (token spec,
 * "Requesting a Token").
 */
export function parseScopes(values: readonly string[]): readonly Access[] {
  const texts = new Set(values.join(" ").split(/\s+/));
  const scopes = [...texts]
    .flatMap((text) => parseScope(text) ?? [])
    .filter(({ name, actions }) => name !== "" && actions.length > 0);
  return [...new Map(scopes.map((scope) => [formatScope(scope), scope])).values()];
}

/** Whether type and actions follow the scope grammar. If they do, they contain no character that could break a header. */
export const isOfGrammar = ({ type, actions }: Access): boolean =>
  /^[a-z0-9]+(\([a-z0-9]+\))?$/.test(type) && actions.every((action) => /^([a-z]+|\*)$/.test(action));

/** Whether the type is `repository`. A class may follow it: docker asks for `repository(plugin)` (token scope grammar, `resourceclass`). */
export const isRepository = ({ type }: Access): boolean => /^repository(\([a-z0-9]+\))?$/.test(type);

/** Whether an action may change something. Only `pull` changes nothing. Clients write `*` for all actions. */
export const writes = ({ actions }: Access): boolean => actions.some((action) => action !== "pull");

/** Whether requests with this method change nothing (RFC 9110 §9.2.1). */
export const isRead = (method: string): boolean => method === "GET" || method === "HEAD";

/** Whether `granted` allows all actions of `wanted`. The names must be equal, and `*` allows any action (distribution, token access). */
export function covers(granted: readonly Access[], wanted: Access): boolean {
  const own = granted.filter(({ type, name }) => type === wanted.type && name === wanted.name);
  return wanted.actions.every((action) => own.some(({ actions }) => actions.includes(action) || actions.includes("*")));
}

type RequiredAccess<Own extends Access | null = Access | null> = {
  /** The access to the repository or list in the URL. Null if none is needed. */
  readonly own: Own;
  /** The access to other repositories that the request reads, such as a mount's source. The edge does not refuse a token that lacks only this. */
  readonly also: readonly Access[];
};

/** An endpoint that always needs a token. */
type Guarded = RepositoryEndpoint | Extract<NamelessEndpoint, { readonly kind: "catalog" | "gitlab-statistics" }>;

/** What distribution and GitLab demand of a token for this endpoint, method by method. */
export function requiredAccess(endpoint: Guarded): RequiredAccess<Access>;
export function requiredAccess(endpoint: Endpoint): RequiredAccess;
export function requiredAccess(endpoint: Endpoint): RequiredAccess {
  if (hasRepository(endpoint)) {
    const own = { type: "repository", name: endpoint.name, actions: methodActions(endpoint.method) };
    return { own, also: sourcesOf(endpoint).map((name) => ({ type: "repository", name, actions: ["pull"] })) };
  }
  if (endpoint.kind === "catalog") return { own: { type: "registry", name: "catalog", actions: ["*"] }, also: [] };
  if (endpoint.kind !== "gitlab-statistics") return { own: null, also: [] };
  return { own: { type: "registry", name: "statistics", actions: ["*"] }, also: [] };
}

/** Returns `own` and `also` as one list, in the order in which the edge's challenge names them. */
export const accessList = ({ own, also }: RequiredAccess): readonly Access[] => (own === null ? also : [own, ...also]);

/** Returns the names of the other repositories for which a request also needs `pull`. `<name>/*` means all repositories below `<name>`. */
function sourcesOf(endpoint: RepositoryEndpoint): readonly string[] {
  const { name } = endpoint;
  if (endpoint.kind === "gitlab-descendants") return [`${name}/*`];
  if (endpoint.kind === "gitlab-repository" && endpoint.method === "PATCH") return [`${name}/*`];
  // A mount reads its source (OCI end-11).
  const from = endpoint.kind === "upload-start" ? endpoint.mount?.from : undefined;
  return from?.kind === "name" && from.name !== name ? [from.name] : [];
}

function methodActions(method: RepositoryEndpoint["method"]): readonly string[] {
  if (isRead(method)) return ["pull"];
  return method === "DELETE" ? ["delete"] : ["pull", "push"];
}
