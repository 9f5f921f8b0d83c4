import * as v from "valibot";
import type { Pod } from "../directory/directory.ts";

/**
 * What was heard last of a blob in one repository of one Pod. `head`: the Pod had it, asked by HEAD. `manifest`: the Pod had a manifest
 * there that names it. `tombstone`: it was deleted, or missed.
 */
export type Evidence = v.InferOutput<typeof evidence>;

const evidence = v.strictObject({
  kind: v.picklist(["head", "manifest", "tombstone"]),
  /** When the Pod was asked; of a tombstone, when it had answered. */
  atMs: v.number(),
  terms: v.string(),
});

/** What of its Pod's record a proof stands on: another registry, or another way to prove, and it is none. */
export const termsOf = ({ registry, blobs }: Pod): string => `${registry} ${blobs.proof}`;

export const holds = ({ kind, atMs, terms }: Evidence, pod: Pod, now: Date): boolean =>
  kind !== "tombstone" && terms === termsOf(pod) && now.getTime() < atMs + pod.blobs.proofTtlSeconds * 1000;

/** Null for what is none, as anything may stand in a cache. */
export function parseEvidence(text: string): Evidence | null {
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), evidence), text);
  return parsed.success ? parsed.output : null;
}
