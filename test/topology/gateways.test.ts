import { expect, test } from "vitest";
import { parseTopology } from "../../src/topology/load.ts";
import { formatMistake } from "../../src/topology/mistake.ts";
import { topologyRecords } from "../../src/topology/topology.ts";
import { podText, production } from "../support/topologies.ts";

const uploads = "https://uploads.example.net";

/** Returns a text that looks like the sealed key of the gateway at `url`: a compact JWE whose header names this place. It contains no secret. */
function sealedFor(url: string, pod = "pod-a"): string {
  const header = { alg: "ECDH-ES", enc: "A256GCM", pod, field: "gateway.key", scheme: "gateway", target: url };
  return `${Buffer.from(JSON.stringify(header)).toString("base64url")}..AAAA.AAAA.AAAA`;
}
const gatewayAt = (url: string, pod?: string) => ({ url, key: sealedFor(url, pod) });

function mistakesOf(gateway: object | null, second: object | null = null): string {
  const text = [
    "pods:",
    `  pod-a: ${podText("pod-a", { gateway })}`,
    `  pod-b: ${podText("pod-b", second === null ? {} : { gateway: second })}`,
  ].join("\n");
  const topology = parseTopology("topology.yaml", text, { ...production, placeholders: null });
  return topology.ok ? "" : topology.error.map(formatMistake).join("\n");
}

test("a Pod may have a gateway, or say with null that it has none", () => {
  expect(mistakesOf(gatewayAt(uploads), gatewayAt("https://uploads.pod-b.example.net", "pod-b"))).toBe("");
  // No store may be on a subdomain of the edge's host, because a client that is redirected there may send its token along. No client is redirected to
  // a gateway, so this rule is not for gateways.
  expect(mistakesOf(gatewayAt("https://uploads.registry.example.com"))).toBe("");
  expect(mistakesOf(null)).toBe("");
});

test("the Pod's own operator runs a gateway unless the topology says that the fleet's does", () => {
  const operatorOf = (gateway: object) => {
    const text = `pods:\n  pod-a: ${podText("pod-a", { gateway })}`;
    const topology = parseTopology("topology.yaml", text, { ...production, placeholders: null });
    if (!topology.ok) throw new Error(topology.error.map(formatMistake).join("\n"));
    const record = new Map(topologyRecords(topology.value)).get("pod/pod-a") as {
      readonly gateway: { readonly operator: string };
    };
    return record.gateway.operator;
  };
  expect(operatorOf(gatewayAt(uploads))).toBe("pod");
  expect(operatorOf({ ...gatewayAt(uploads), operator: "pod" })).toBe("pod");
  expect(operatorOf({ ...gatewayAt(uploads), operator: "fleet" })).toBe("fleet");
});

test.each([
  ["names another operator", { ...gatewayAt(uploads), operator: "me" }, "pods.pod-a.gateway.operator:"],
  [
    "has its key in clear",
    { url: uploads, key: "hunter2" },
    "pods.pod-a.gateway.key: is not a sealed value, and may be the secret itself",
  ],
  [
    "has the key of another gateway",
    { url: uploads, key: sealedFor("https://other.example.net") },
    `pods.pod-a.gateway.key: was sealed for another place; want one sealed for target "${uploads}"`,
  ],
  [
    "has no TLS",
    gatewayAt("http://uploads.example.net"),
    'pods.pod-a.gateway.url: "http://uploads.example.net" is not encrypted; want https',
  ],
  ["has a path", gatewayAt(`${uploads}/v2`), `pods.pod-a.gateway.url: "${uploads}/v2" is wrong; want an origin`],
  [
    "is the edge",
    gatewayAt("https://registry.example.com"),
    'pods.pod-a.gateway.url: "https://registry.example.com" is the edge itself, not the Pod; want the Pod\'s own host',
  ],
])("a gateway that %s is a mistake", (_, gateway, text) => {
  expect(mistakesOf(gateway)).toContain(text);
});

test("two Pods with one gateway are a mistake, because each has a key of its own", () => {
  expect(mistakesOf(gatewayAt(uploads), gatewayAt(uploads, "pod-b"))).toContain(
    `pods.pod-b.gateway.url: gateway "${uploads}" is also used by Pod "pod-a"`,
  );
});
