import { nameIn, routeKey } from "../../directory/keys.ts";
import type { Prefix } from "../../oci/repository-name.ts";
import type { KvStore } from "../target/kv-store.ts";

/**
 * A group's repositories are those at or below `prefix`, except those at or below one of the prefixes in `without`. These deeper prefixes have
 * assignments of their own, which may name another Pod.
 */
export type Group = { readonly prefix: Prefix; readonly without: readonly Prefix[] };

const isBelow = (name: string, prefix: string): boolean => name === prefix || name.startsWith(`${prefix}/`);
export const isInGroup = (name: string, { prefix, without }: Group): boolean =>
  isBelow(name, prefix) && !without.some((deeper) => isBelow(name, deeper));

export async function readGroup(kv: KvStore, prefix: Prefix): Promise<Group> {
  const without: Prefix[] = [];
  for await (const page of kv.list(`${routeKey(prefix)}/`))
    without.push(...page.map(({ key }) => nameIn(key) as Prefix));
  return { prefix, without };
}
