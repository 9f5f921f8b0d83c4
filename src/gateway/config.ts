import { allowsPlainHttp, type PlainHttp } from "../lib/address.ts";
import { err, ok, type Result } from "../lib/result.ts";
import { type GatewayKeys, parseGatewayKeys } from "../pods/gateway-keys.ts";

export type GatewayConfig = {
  /** The id of this gateway's Pod. A grant for another Pod is refused, even if both Pods have the same key. */
  readonly pod: string;
  /** The registry's origin, as this program reaches it. */
  readonly registry: string;
  /** The origins under which clients call the edge, at least one. A grant that names another origin is refused. */
  readonly edges: readonly string[];
  readonly keys: GatewayKeys;
  /** From which hosts the gateway may copy a blob without TLS. */
  readonly plainHttp: PlainHttp;
  readonly listen: { readonly host: string; readonly port: number };
  /** Paths of PEM files; null if a proxy terminates TLS. */
  readonly tls: { readonly certificate: string; readonly key: string } | null;
};

type Environment = Readonly<Record<string, string | undefined>>;

const defaultListen = "127.0.0.1:5080";

/** The error names the variable, and never contains a secret. */
export function parseGatewayConfig(env: Environment): Result<GatewayConfig, string> {
  const pod = env["POD"] ?? "";
  if (!/^[a-z0-9-]+$/.test(pod))
    return err(`POD "${pod}" is not a Pod's id; want the one in the topology, like "pod-a"`);
  const registry = parseOrigin(env["REGISTRY"] ?? "");
  if (registry === null) return err('REGISTRY is not an origin; want one like "http://127.0.0.1:5000", without a path');
  const edges = parseEdges(env["EDGE"] ?? "");
  if (!edges.ok) return edges;
  const keys = parseGatewayKeys(env["GATEWAY_KEY"] ?? "");
  if (!keys.ok) return err(`GATEWAY_KEY ${keys.error}`);
  const plain = env["PLAIN_HTTP"] || "refuse";
  if (plain !== "allow" && plain !== "refuse") return err(`PLAIN_HTTP "${plain}" is unknown; want "allow" or "refuse"`);
  const listen = parseListen(env["LISTEN"] || defaultListen);
  if (listen === null) return err(`LISTEN "${env["LISTEN"]}" is not an address; want one like "${defaultListen}"`);
  const [certificate, key] = [env["TLS_CERT"] || null, env["TLS_KEY"] || null];
  if ((certificate === null) !== (key === null)) {
    return err("TLS_CERT and TLS_KEY go together; want the paths of both PEM files, or neither");
  }
  const tls = certificate === null || key === null ? null : { certificate, key };
  const plainHttp = plain === "allow" ? "everywhere" : "loopback";
  return ok({ pod, registry, edges: edges.value, keys: keys.value, plainHttp, listen, tls });
}

function parseEdges(text: string): Result<GatewayConfig["edges"], string> {
  const texts = text.split(/[\s,]+/).filter((each) => each !== "");
  const edges = texts.flatMap((each) => parseOrigin(each) ?? []);
  if (edges.length === 0 || edges.length !== texts.length) {
    return err('EDGE is not an origin; want one like "https://registry.example.com", or several with commas between');
  }
  // Clients send their token to this origin, so it must have TLS.
  const plain = edges.find((edge) => !edge.startsWith("https:") && !isLocal(edge));
  return plain === undefined ? ok(edges) : err(`EDGE "${plain}" is not encrypted; want https`);
}

const isLocal = (origin: string): boolean => allowsPlainHttp("loopback", new URL(origin).hostname);

function parseOrigin(text: string): string | null {
  if (!URL.canParse(text)) return null;
  const { protocol, origin, pathname, search, hash, username } = new URL(text);
  const isOrigin = pathname === "/" && search === "" && hash === "" && username === "";
  return isOrigin && /^https?:$/.test(protocol) ? origin : null;
}

/** `host:port`, `[::1]:port`, or `:port` for all addresses. */
function parseListen(text: string): GatewayConfig["listen"] | null {
  const [, bracketed, host, port = ""] = /^(?:\[([0-9a-f:.]+)\]|([^:[\]/\s]*)):(\d{1,5})$/i.exec(text) ?? [];
  const isPort = port !== "" && Number(port) <= 65_535;
  return isPort ? { host: bracketed ?? (host || "::"), port: Number(port) } : null;
}
