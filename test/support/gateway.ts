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
  /** The tap in front of the registry. It shows what the gateway asks the registry. */
  readonly tap: Tap;
  readonly config: GatewayConfig;
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

export async function startTestGateway(options: GatewayOptions = {}): Promise<TestGateway> {
  const pod = options.pod ?? (await startToyPod());
  const tap = await startTap(Number(new URL(pod.registry).port), "127.0.0.1");
  const env = { POD: "pod-a", REGISTRY: tap.url, EDGE: edgeOrigin, GATEWAY_KEY: gatewayKey(), ...options.env };
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

/** An upload that has begun at the registry, as if the edge had sent the POST. */
export type BegunUpload = {
  readonly repository: RepositoryName;
  readonly upload: string;
  readonly path: string;
  /** The grant before it was sealed, so that a test can seal a changed one. */
  readonly grant: UploadGrant;
  readonly sealed: string;
  /** The URL on the gateway to which the edge would send the client. It contains `sealed`. */
  readonly location: string;
};

export async function beginUpload({ pod, tap, config, url }: TestGateway, name: string): Promise<BegunUpload> {
  const repository = repositoryName(name);
  // distribution lets a token cancel an upload by DELETE only if the token has the action `delete`.
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
