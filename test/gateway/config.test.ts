import { describe, expect, test } from "vitest";
import { parseGatewayConfig } from "../../src/gateway/config.ts";

const key = "A".repeat(43);
const good = {
  POD: "pod-a",
  REGISTRY: "http://127.0.0.1:5000",
  EDGE: "https://registry.example.com",
  GATEWAY_KEY: key,
};

describe("gateway's environment", () => {
  test("the four required variables are enough", () => {
    expect(parseGatewayConfig(good)).toMatchObject({
      ok: true,
      value: {
        pod: "pod-a",
        registry: "http://127.0.0.1:5000",
        edges: ["https://registry.example.com"],
        plainHttp: "loopback",
        listen: { host: "127.0.0.1", port: 5080 },
        tls: null,
      },
    });
  });

  test("a second edge, a second key, TLS and other addresses are read", () => {
    const env = {
      ...good,
      EDGE: "https://registry.example.com, https://images.example.com/",
      // The second key has the padding with which `openssl rand -base64 32` prints it.
      GATEWAY_KEY: `${key},${"/".repeat(42)}8=`,
      LISTEN: "[::1]:443",
      TLS_CERT: "/c.pem",
      TLS_KEY: "/k.pem",
    };
    const config = parseGatewayConfig(env);
    expect(config).toMatchObject({
      ok: true,
      value: {
        edges: ["https://registry.example.com", "https://images.example.com"],
        listen: { host: "::1", port: 443 },
        tls: { certificate: "/c.pem", key: "/k.pem" },
      },
    });
    expect(config.ok && config.value.keys.length).toBe(2);
    expect(parseGatewayConfig({ ...good, LISTEN: ":8080" })).toMatchObject({
      value: { listen: { host: "::", port: 8080 } },
    });
  });

  test.each([
    ["POD", "", 'POD "" is not a Pod\'s id'],
    ["POD", "Pod A", 'POD "Pod A" is not a Pod\'s id'],
    ["REGISTRY", "", "REGISTRY is not an origin"],
    ["REGISTRY", "http://127.0.0.1:5000/v2", "REGISTRY is not an origin"],
    ["REGISTRY", "file:///etc", "REGISTRY is not an origin"],
    ["EDGE", "registry.example.com", "EDGE is not an origin"],
    ["EDGE", "http://registry.example.com", 'EDGE "http://registry.example.com" is not encrypted'],
    ["GATEWAY_KEY", "", "GATEWAY_KEY is not a gateway's key"],
    ["GATEWAY_KEY", "c2hvcnQ", "GATEWAY_KEY is not a gateway's key"],
    ["GATEWAY_KEY", `${key},${key},${key}`, "GATEWAY_KEY is not a gateway's key"],
    ["LISTEN", "5080", 'LISTEN "5080" is not an address'],
    ["LISTEN", "127.0.0.1:99999", 'LISTEN "127.0.0.1:99999" is not an address'],
    ["TLS_CERT", "/c.pem", "TLS_CERT and TLS_KEY go together"],
    ["PLAIN_HTTP", "yes", 'PLAIN_HTTP "yes" is unknown'],
  ])("a wrong %s is named, with what would do: %j", (name, value, message) => {
    const config = parseGatewayConfig({ ...good, [name]: value });
    expect(config).toMatchObject({ ok: false, error: expect.stringContaining(message) });
    expect(!config.ok && config.error).toMatch(/; want /);
    if (name === "GATEWAY_KEY" && value !== "") expect(!config.ok && config.error).not.toContain(value);
  });
});
