import { decodeJwt } from "jose";
import * as v from "valibot";
import type { RepositoryName } from "../oci/repository-name.ts";
import type { Parameter } from "../signers/encode.ts";

/**
 * Says for which repository a URL was made, so that its storage traffic can be charged to somebody. A value that is not known at the time of signing
 * is left out.
 */
export type Attribution = {
  readonly repository?: RepositoryName;
  readonly namespaceId?: string;
  readonly projectId?: string;
  readonly sizeBytes?: number;
};

const isId = (value: unknown): value is string | number =>
  typeof value === "number" || (typeof value === "string" && /^[A-Za-z0-9_-]{1,64}$/.test(value));
const id = v.pipe(
  v.unknown(),
  v.transform((value) => (isId(value) ? String(value) : "")),
);
/** The parts of GitLab's tokens that name the project and the root namespace of a repository. Tokens of other services do not have them. */
const claims = v.object({
  access: v.array(
    v.object({
      name: v.string(),
      meta: v.optional(v.object({ project_id: v.optional(id, ""), root_namespace_id: v.optional(id, "") })),
    }),
  ),
});

/** `jwt` is the request's verified token, or null if the request had none. */
export function attributionOf(repository: RepositoryName, jwt: string | null): Attribution {
  const parsed = v.safeParse(claims, jwt === null ? null : decodeJwt(jwt));
  const meta = parsed.success ? parsed.output.access.find(({ name }) => name === repository)?.meta : undefined;
  return {
    repository,
    ...(meta === undefined || meta.root_namespace_id === "" ? {} : { namespaceId: meta.root_namespace_id }),
    ...(meta === undefined || meta.project_id === "" ? {} : { projectId: meta.project_id }),
  };
}

export function attributionParameters(attribution: Attribution): readonly Parameter[] {
  const { namespaceId, projectId, repository, sizeBytes } = attribution;
  const named: readonly (readonly [string, string | undefined])[] = [
    ["namespace-id", namespaceId],
    ["project-id", projectId],
    ["repository", repository],
    ["size-bytes", sizeBytes?.toString()],
  ];
  return named.flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]));
}
