import type { Access } from "../../oci/scope.ts";

const scopeOf =
  (...actions: readonly string[]) =>
  (name: string): Access => ({ type: "repository", name, actions });

export const pullScope = scopeOf("pull");
export const pushScope = scopeOf("pull", "push");
export const deleteScope = scopeOf("pull", "push", "delete");
