/** One Pod: storage, token service and registry, each with a tap in front. The kinds differ in storage and registry only. */
import { randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { loopback, serve } from "../http-server.ts";
import { startTap, type Tap } from "../taps/tap.ts";
import type { Stop, Teardown } from "../teardown.ts";
import { createTokenService } from "../toy/token-service.ts";
import type { PodServices, ServiceName, SigningKey } from "../types.ts";
import type { Watchdog } from "../watchdog.ts";

export type PodContext = {
  readonly id: string;
  readonly prefix: string;
  /** The Pod's own, empty at the start. */
  readonly dir: string;
  readonly issuer: string;
  readonly audience: string;
  readonly bucket: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly key: SigningKey;
  readonly watchdog: Watchdog;
};

export type Server = { readonly port: number; readonly stop: Stop };

/** What a kind of Pod brings; the registry learns where its token service and its storage are. */
export type PodParts = {
  startStorage(pod: PodContext): Promise<Server>;
  startRegistry(pod: PodContext, urls: { readonly realm: string; readonly storage: string }): Promise<Server>;
};

export type Pod = {
  readonly context: PodContext;
  readonly services: PodServices;
  readonly taps: Readonly<Record<ServiceName, Tap>>;
};

export async function startPod(
  parts: PodParts,
  options: Pick<PodContext, "id" | "prefix" | "dir" | "watchdog" | "key">,
  teardown: Teardown,
): Promise<Pod> {
  await mkdir(options.dir, { recursive: true });
  const context: PodContext = {
    ...options,
    issuer: `${options.id}-issuer`,
    audience: `${options.id}-registry`,
    bucket: options.id,
    region: "us-east-1",
    accessKeyId: `AK${randomBytes(9).toString("hex").toUpperCase()}`,
    secretAccessKey: randomBytes(30).toString("base64url"),
  };
  const inFront = async (port: number, hostname: "127.0.0.1" | "localhost") =>
    teardown.add(await startTap(port, hostname));

  const storage = teardown.add(await parts.startStorage(context));
  const token = teardown.add(await serve(createTokenService({ ...context, prefixes: [context.prefix] })));
  // Another host name than the edge's: clients drop their token on the way there, as they would in production.
  const taps = { storage: await inFront(storage.port, "localhost"), token: await inFront(token.port, loopback) };
  const urls = { realm: `${taps.token.url}/jwt/auth`, storage: `http://localhost:${storage.port}` };
  const registry = teardown.add(await parts.startRegistry(context, urls));
  const registryTap = await inFront(registry.port, loopback);
  return {
    context,
    taps: { ...taps, registry: registryTap },
    services: {
      registry: { url: registryTap.url, direct: `http://${loopback}:${registry.port}` },
      token: { url: taps.token.url, direct: `http://${loopback}:${token.port}` },
      storage: { url: taps.storage.url, direct: urls.storage },
    },
  };
}
