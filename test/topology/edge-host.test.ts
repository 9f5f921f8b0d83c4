import { describe, expect, test } from "vitest";
import { parseTopology } from "../../src/topology/load.ts";
import { formatMistake } from "../../src/topology/mistake.ts";
import { podText, production } from "../support/topologies.ts";

const realm = "https://gitlab.example.com/jwt/auth";

function mistakesOf(pod: object, ...lines: readonly string[]): readonly string[] {
  const text = ["pods:", `  pod-a: ${podText("pod-a", pod)}`, ...lines].join("\n");
  const topology = parseTopology("topology.yaml", text, { ...production, realm, placeholders: null });
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

  test("at the realm, even if only requests for tokens come to the edge at the realm's host", () => {
    expect(mistakesOf({ token: realm })).toEqual([
      expect.stringContaining(
        `pods.pod-a.token: "${realm}" is REALM, where the edge itself answers; want a URL of the token service that no route of the Worker takes`,
      ),
    ]);
    expect(mistakesOf({ token: "https://gitlab.pod-a.example.com/jwt/auth" })).toEqual([]);
  });

  test("but not at a host below the edge's host name", () => {
    expect(mistakesOf({ registry: "https://pod-a.registry.example.com" })).toEqual([]);
  });
});

describe("a Pod's service at an IP address is a mistake, because Cloudflare lets no Worker call one", () => {
  const isAddress = "is an IP address, which a Worker cannot call; want a hostname, or `trust` by a binding";

  test.each([
    ["registry", "https://203.0.113.5"],
    ["token", "https://[2001:db8::5]:8443/jwt/auth"],
  ])("for the %s", (member, url) => {
    expect(mistakesOf({ [member]: url })).toEqual([
      expect.stringContaining(`pods.pod-a.${member}: "${url}" ${isAddress}`),
    ]);
  });

  test("but not if the Worker reaches the Pod by a binding, through which it does not call the Pod's gateway", () => {
    const trust = { kind: "binding", binding: "POD_A" };
    expect(mistakesOf({ registry: "https://203.0.113.5", trust })).toEqual([]);
    const mistakes = mistakesOf({ trust, gateway: { url: "https://203.0.113.6", key: "not sealed" } });
    expect(mistakes).toContainEqual(
      expect.stringMatching(/gateway\.url: .* is an IP address, which a Worker cannot call; want a hostname$/),
    );
  });
});

describe("a name that begins with the edge's host name, as docker prints it, is a mistake", () => {
  const begins = (name: string) => `"${name}" begins with the edge's own host name; want`;

  test.each([
    ["in a block", "blocks: { registry.example.com/acme/leaked: leaked }"],
    ["in an assignment", "assignments: { registry.example.com/acme/leaked: pod-a }"],
    ["as an alias's old name", "aliases: { registry.example.com/acme/leaked: acme/app }"],
    ["as an alias's new name", "aliases: { acme/app: registry.example.com/acme/leaked }"],
  ])("%s", (_, line) => {
    expect(mistakesOf({}, line)).toEqual([
      expect.stringContaining(`${begins("registry.example.com/acme/leaked")} "acme/leaked"`),
    ]);
  });

  test("also without a repository behind it, and if only the file has the host name", () => {
    const blocks = "blocks: { edge.example.org: leaked }";
    expect(mistakesOf({}, blocks)).toEqual([]);
    expect(mistakesOf({}, blocks, "edge: edge.example.org")).toEqual([
      expect.stringContaining(`${begins("edge.example.org")} a repository's name or its first components`),
    ]);
  });

  test("but not if the host name is at another place in it", () => {
    expect(
      mistakesOf({}, "blocks: { acme/registry.example.com: leaked, registry.example.com-2/acme: leaked }"),
    ).toEqual([]);
  });
});
