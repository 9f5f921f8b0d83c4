import { parseTopology } from "../../src/topology/load.ts";
import { formatMistake } from "../../src/topology/mistake.ts";
import type { Rules, Topology } from "../../src/topology/topology.ts";

export const production: Rules = {
  auth: "token",
  plainHttp: "nowhere",
  edgeHosts: ["registry.example.com"],
  realm: null,
  seals: "checked",
};

/** A Pod without a store, written as JSON, which every YAML parser reads. */
export const podText = (id: string, more: object = {}): string =>
  JSON.stringify({
    registry: `https://registry.${id}.example.net`,
    token: `https://${id}.example.net/jwt/auth`,
    issuer: `${id}-issuer`,
    audience: "container_registry",
    keys: [keyOf(id)],
    ...more,
  });

/** The modulus of 2048 bits is made from the kid, so that two kids are two keys. */
export const keyOf = (kid: string): object => ({
  ...{ kty: "RSA", kid, alg: "RS256", e: "AQAB" },
  n: Buffer.concat([Buffer.of(0xff), Buffer.alloc(255, kid)]).toString("base64url"),
});

export const topologyText = (pods: readonly string[], ...lines: readonly string[]): string =>
  ["pods:", ...pods.map((id) => `  ${id}: ${podText(id)}`), ...lines].join("\n");

export function topologyOf(text: string): Topology {
  const topology = parseTopology("topology.yaml", text, { ...production, placeholders: null });
  if (!topology.ok) throw new Error(topology.error.map(formatMistake).join("\n"));
  return topology.value;
}
