import type { RepositoryName } from "../oci/repository-name.ts";

/** For whom a URL was made. What is not known at sign time is left out. */
export type Attribution = {
  readonly repository?: RepositoryName;
  readonly namespaceId?: string;
  readonly projectId?: string;
  readonly sizeBytes?: number;
};

/** As query parameters, in the order of their names: schemes sign them as they are. */
export function attributionParameters(attribution: Attribution): readonly (readonly [string, string])[] {
  const { namespaceId, projectId, repository, sizeBytes } = attribution;
  const named: readonly (readonly [string, string | undefined])[] = [
    ["namespace-id", namespaceId],
    ["project-id", projectId],
    ["repository", repository],
    ["size-bytes", sizeBytes?.toString()],
  ];
  return named.flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]));
}
