import { describe, expect, test } from "vitest";
import { parseTopology } from "../../src/topology/load.ts";
import { formatMistake } from "../../src/topology/mistake.ts";
import { podText, production } from "../support/topologies.ts";

function mistakesOf(pod: object, ...lines: readonly string[]): readonly string[] {
  const text = ["pods:", `  pod-a: ${podText("pod-a", pod)}`, ...lines].join("\n");
  const topology = parseTopology("topology.yaml", text, { ...production, placeholders: null });
  return topology.ok ? [] : topology.error.map(formatMistake);
}

describe("a Pod whose requests would come back to the edge is a mistake", () => {
  test.each([
    ["registry", "https://registry.example.com"],
    ["token", "https://Registry.example.com:443/jwt/auth"],
  ])("at its %s", (member, url) => {
    expect(mistakesOf({ [member]: url })).toEqual([
      expect.stringContaining(
        `pods.pod-a.${member}: "${url}" is the edge itself, not the Pod; want the Pod's own host`,
      ),
    ]);
  });

  test("at the edge's host name that only the file has", () => {
    const pod = { registry: "https://edge.example.org" };
    expect(mistakesOf(pod)).toEqual([]);
    expect(mistakesOf(pod, "edge: edge.example.org")).toEqual([expect.stringContaining("is the edge itself")]);
  });

  test("but not at a host below the edge's host name", () => {
    expect(mistakesOf({ registry: "https://pod-a.registry.example.com" })).toEqual([]);
  });
});
