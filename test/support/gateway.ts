import { randomBytes } from "node:crypto";
import { onTestFinished } from "vitest";
import { createGateway, type GatewayLimits } from "../../src/gateway/app.ts";
import { type GatewayConfig, parseGatewayConfig } from "../../src/gateway/config.ts";
import { serve } from "../../src/local/http-server.ts";
import { startTap, type Tap } from "../../src/local/taps/tap.ts";
import { parseRepositoryName, type RepositoryName } from "../../src/oci/repository-name.ts";
import { grantParameter, sealGrant, type UploadGrant } from "../../src/pods/upload-grant.ts";
import { startToyPod, type ToyPod } from "./toy-pod.ts";

export const edgeOrigin = "https://registry.example.com";

export type TestGateway = {
  readonly url: string;
  readonly pod: ToyPod;
  /** In front of the registry: what the gateway asks it. */
  readonly tap: Tap;
  readonly config: GatewayConfig;
  /** The lines of its log. */
  readonly lines: readonly Readonly<Record<string, unknown>>[];
};

type GatewayOptions = {
  readonly env?: Readonly<Record<string, string>>;
  readonly limits?: Partial<GatewayLimits>;
  readonly pod?: ToyPod;
};

export const gatewayKey = (): string => randomBytes(32).toString("base64url");

export function gatewayConfig(env: Readonly<Record<string, string>>): GatewayConfig {
  const config = parseGatewayConfig(env);
  if (!config.ok) throw new Error(config.error);
  return config.value;
}

/** A gateway in this process, next to a toy registry with a tap in front of it. All of it lives as long as the test. */
export async function startTestGateway(options: GatewayOptions = {}): Promise<TestGateway> {
  const pod = options.pod ?? (await startToyPod());
  const tap = await startTap(Number(new URL(pod.registry).port), "127.0.0.1");
  const env = { REGISTRY: tap.url, EDGE: edgeOrigin, GATEWAY_KEY: gatewayKey(), ...options.env };
  const config = gatewayConfig(env);
  const lines: Readonly<Record<string, unknown>>[] = [];
  const { limits } = options;
  const writeLog = (line: object) => void lines.push({ ...line });
  const gateway = createGateway(config, writeLog, limits === undefined ? {} : { limits });
  const server = await serve(gateway.listener);
  onTestFinished(async () => {
    await server.stop();
    await tap.stop();
  });
  return { url: `http://127.0.0.1:${server.port}`, pod, tap, config, lines };
}

/** An upload that has begun at the registry, as the edge's POST begins one, with the push location that the edge would give. */
export type BegunUpload = {
  readonly repository: RepositoryName;
  readonly upload: string;
  readonly path: string;
  /** The grant's claims, to be sealed otherwise. */
  readonly grant: UploadGrant;
  readonly sealed: string;
  /** On the gateway. */
  readonly location: string;
};

export async function beginUpload({ pod, tap, config, url }: TestGateway, name: string): Promise<BegunUpload> {
  const repository = repositoryName(name);
  // DELETE of an upload wants `delete` in distribution.
  const scope = `repository:${name}:pull,push,delete`;
  const started = await pod.ask("POST", `/v2/${name}/blobs/uploads/`, scope);
  const place = new URL(started.headers.get("Location") ?? "", pod.registry);
  const upload = place.pathname.split("/").at(-1) ?? "";
  const grant: UploadGrant = {
    pod: "pod-a",
    repository,
    upload,
    query: place.search.slice(1),
    token: await pod.token(scope),
    pin: "the-pin",
    edge: edgeOrigin,
    registry: pod.registry,
  };
  const sealed = await sealGrant(grant, { keys: config.keys, now: new Date() });
  tap.clearSeen();
  const location = `${url}${place.pathname}?${grantParameter}=${sealed}`;
  return { repository, upload, path: place.pathname, grant, sealed, location };
}

export function repositoryName(text: string): RepositoryName {
  const name = parseRepositoryName(text);
  if (!name.ok) throw new Error(name.error);
  return name.value;
}
