import { expect, test } from "vitest";
import { formatBundle, parseToken } from "../../src/auth/bundle.ts";
import type { PodId } from "../../src/directory/pod-id.ts";

const jwt = "eyJh.eyJi.c2ln";
const part = (pod: string) => ({ kind: "pod", pod: pod as PodId, jwt }) as const;

test("a bundle parses to the parts it was formatted from", () => {
  for (const parts of [[part("pod-a")], [part("pod-a"), part("pod-b")]]) {
    expect(parseToken(formatBundle(parts))).toEqual({ ok: true, value: { kind: "bundle", parts } });
  }
});

test("a JWT without a Pod parses as a bare token", () =>
  expect(parseToken(jwt)).toEqual({ ok: true, value: { kind: "bare", jwt } }));

test.each([
  "",
  "junk",
  "a.b",
  "a.b.c.d",
  "pods.v1.",
  "pods.v1.pod-a",
  `pods.v1./${jwt}`,
  `pods.v1.Pod/${jwt}`,
  `pods.v1.pod-a/${jwt}~`,
  `pods.v1.pod-a/${jwt}~pod-a/${jwt}`,
  `pods.v1.pod-a/${jwt}/x`,
  `pods.v2.pod-a/${jwt}`,
  `pods.v1.${Array.from({ length: 9 }, (_, index) => `pod-${index}/${jwt}`).join("~")}`,
  `a.b.${"c".repeat(64 * 1024)}`,
])("%.40s is a malformed token", (text) => expect(parseToken(text).ok).toBe(false));
