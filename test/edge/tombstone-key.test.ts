import { expect, test } from "vitest";
import type { PodId } from "../../src/directory/pod-id.ts";
import { tombstoneKey } from "../../src/edge/ask-other-pod.ts";
import type { Digest } from "../../src/oci/digest.ts";
import { repositoryName } from "../support/gateway.ts";

const digest = `sha256:${"d".repeat(64)}` as Digest;
const since = "2026-11-20T10:00:00.000Z";

function keyIn(pod: string, other: string, at = since, kind: "manifest" | "blob" = "manifest"): string {
  const moving = { since: at, other: other as PodId };
  return tombstoneKey({ kind, name: repositoryName("acme/app") }, digest, { pod: { id: pod }, moving });
}

test("a tombstone of one move is found from both of its Pods, and neither in a later move nor in one of other Pods", () => {
  const key = keyIn("pod-b", "pod-a");
  expect(keyIn("pod-a", "pod-b")).toBe(key);
  const others = [
    keyIn("pod-b", "pod-a", "2026-11-21T10:00:00.000Z"),
    keyIn("pod-b", "pod-c"),
    keyIn("pod-b", "pod-a", since, "blob"),
  ];
  expect(new Set([key, ...others]).size).toBe(4);
});
