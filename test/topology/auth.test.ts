import { describe, expect, test } from "vitest";
import { parseTopology } from "../../src/topology/load.ts";
import { formatMistake } from "../../src/topology/mistake.ts";
import { podText, production } from "../support/topologies.ts";

const withKeys = podText("pod-a");
const withoutKeys = podText("pod-b", { keys: [] });

function mistakesOf(auth: "token" | "none", ...pods: readonly string[]): readonly string[] {
  const text = ["pods:", ...pods.map((pod, index) => `  pod-${index}: ${pod}`)].join("\n");
  const checked = parseTopology("topology.yaml", text, { ...production, auth, placeholders: null });
  return checked.ok ? [] : checked.error.map(formatMistake);
}

describe("a topology for a deployment whose AUTH is none", () => {
  test("may have no Pod with token keys, not even as one of several", () => {
    for (const pods of [[withKeys], [withoutKeys, withKeys]]) {
      const [mistake, ...others] = mistakesOf("none", ...pods);
      expect(others).toEqual([]);
      expect(mistake).toMatch(
        new RegExp(
          `:${pods.length + 1}:\\d+: pods\\.pod-${pods.length - 1}\\.keys: has a token key, but AUTH is "none"`,
        ),
      );
    }
  });

  test("may have Pods without token keys", () => expect(mistakesOf("none", withoutKeys)).toEqual([]));
});

test("a topology for a deployment that needs tokens may have Pods with and without token keys", () => {
  expect(mistakesOf("token", withKeys, withoutKeys)).toEqual([]);
});
