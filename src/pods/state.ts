import type { Pod } from "../directory/directory.ts";
import { isRead } from "../oci/scope.ts";

/** Operators let no such request through; the text is for the client. */
export type StateRefusal = { readonly reason: "down" | "read-only"; readonly text: string };

export function stateRefusal({ state, reason }: Pod, method: string): StateRefusal | null {
  if (state === "down") return { reason: "down", text: reason ?? "the registry of this repository is down" };
  if (state !== "read-only" || isRead(method)) return null;
  return { reason: "read-only", text: reason ?? "the registry of this repository is read-only for now" };
}
