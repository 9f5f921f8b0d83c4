/** One local Pod: storage, token service and registry. In front of each is a tap, a proxy that records requests. */
import { randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { serve } from "../http-server.ts";
import { loopback } from "../ports.ts";
import { startTap, type Tap } from "../taps/tap.ts";
import type { Stop, Teardown, Watchdog } from "../teardown.ts";
import { createTokenService, type SigningKey } from "../toy/token-service.ts";
import type { LocalGateway } from "./gateway.ts";

type PodService = "registry" | "token" | "storage";
export type ServiceName = PodService | "gateway";

/** `url` leads to the tap in front of a service, and `direct` leads to the service itself. */
type ServiceUrls = { readonly url: string; readonly direct: string };
export type PodServices = Readonly<Record<PodService, ServiceUrls>> & { readonly gateway?: ServiceUrls };

export type PodContext = {
  readonly id: string;
  readonly prefix: string;
  /** The Pod's own folder, which is empty at the start. */
  readonly dir: string;
  readonly issuer: string;
  readonly audience: string;
  readonly bucket: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly key: SigningKey;
  readonly tokenSeconds?: number | undefined;
  /** The keys of all token services whose tokens the registry accepts. */
  readonly trusted: readonly SigningKey[];
  readonly watchdog: Watchdog;
};

export type PodServer = { readonly port: number; readonly stop: Stop };

/** Starts the two servers in which the kinds of Pods differ. */
export type PodParts = {
  startStorage(pod: PodContext): Promise<PodServer>;
  startRegistry(pod: PodContext, urls: { readonly realm: string; readonly storage: string }): Promise<PodServer>;
};

export type LocalPod = {
  readonly context: PodContext;
  readonly services: PodServices;
  readonly taps: Readonly<Record<PodService, Tap>> & { readonly gateway?: Tap };
  readonly gateway?: LocalGateway;
};

export const withGateway = ({ taps, services, ...pod }: LocalPod, gateway: LocalGateway): LocalPod => ({
  ...pod,
  gateway,
  taps: { ...taps, gateway: gateway.tap },
  services: { ...services, gateway: { url: gateway.tap.url, direct: gateway.direct } },
});

type PodOptions = Pick<PodContext, "id" | "prefix" | "dir" | "key" | "tokenSeconds">;

export async function startPod(
  parts: PodParts,
  options: PodOptions & Partial<Pick<PodContext, "trusted">>,
  teardown: Teardown,
): Promise<LocalPod> {
  await mkdir(options.dir, { recursive: true });
  const context: PodContext = {
    trusted: [options.key],
    ...options,
    issuer: `${options.id}-issuer`,
    audience: `${options.id}-registry`,
    bucket: options.id,
    region: "us-east-1",
    accessKeyId: `AK${randomBytes(9).toString("hex").toUpperCase()}`,
    secretAccessKey: randomBytes(30).toString("base64url"),
    watchdog: teardown.watchdog,
  };
  const inFront = async ({ port }: PodServer, hostname: "127.0.0.1" | "localhost") =>
    teardown.add(await startTap(port, hostname));

  const storage = teardown.add(await parts.startStorage(context));
  const token = await startTokenService(context, teardown);
  // As in production, the storage has another host name than the edge. With the same host name, clients would send their token to the storage.
  const taps = { storage: await inFront(storage, "localhost"), token: token.tap };
  const urls = { realm: `${taps.token.url}/jwt/auth`, storage: `http://localhost:${storage.port}` };
  const registry = teardown.add(await parts.startRegistry(context, urls));
  const registryTap = await inFront(registry, loopback);
  return {
    context,
    taps: { ...taps, registry: registryTap },
    services: {
      registry: { url: registryTap.url, direct: `http://${loopback}:${registry.port}` },
      token: token.urls,
      storage: { url: taps.storage.url, direct: urls.storage },
    },
  };
}

/** Starts a Pod that has only a token service of its own, and uses the registry and the storage of the first Pod, behind the first Pod's taps. */
export async function joinPod(first: LocalPod, options: PodOptions, teardown: Teardown): Promise<LocalPod> {
  const context: PodContext = { ...first.context, ...options };
  const { tap, urls } = await startTokenService(context, teardown);
  return { context, taps: { ...first.taps, token: tap }, services: { ...first.services, token: urls } };
}

async function startTokenService(
  context: PodContext,
  teardown: Teardown,
): Promise<{ readonly tap: Tap; readonly urls: ServiceUrls }> {
  const { port } = teardown.add(await serve(createTokenService({ ...context, prefixes: [context.prefix] })));
  const tap = teardown.add(await startTap(port, loopback));
  return { tap, urls: { url: tap.url, direct: `http://${loopback}:${port}` } };
}
