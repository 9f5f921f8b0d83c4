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

describe("a deployment whose AUTH is none", () => {
  test("has no Pod with token keys, be it one among others", () => {
    for (const pods of [[withKeys], [withoutKeys, withKeys]]) {
      const [mistake, ...others] = mistakesOf("none", ...pods);
      expect(others).toEqual([]);
      expect(mistake).toMatch(
        new RegExp(
          `:${pods.length + 1}:\\d+: pods\\.pod-${pods.length - 1}\\.keys: has a token key, yet AUTH is "none"`,
        ),
      );
    }
  });

  test("has Pods without", () => expect(mistakesOf("none", withoutKeys)).toEqual([]));
});

test("where tokens are asked for, a Pod may have keys or judge its tokens itself", () => {
  expect(mistakesOf("token", withKeys, withoutKeys)).toEqual([]);
});
