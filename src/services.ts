import { noneRejected, type RejectedTokens, type TokenMemory } from "./auth/verify.ts";
import { createProofCache } from "./blobs/proof-cache.ts";
import { createProofs, type Proofs } from "./blobs/proofs.ts";
import type { SigningMemory } from "./blobs/sign.ts";
import { type Config, type Env, parseConfig } from "./config.ts";
import type { Client, ParsedCidrs } from "./directory/clients.ts";
import { createDirectory, type Directory, type Pod } from "./directory/directory.ts";
import { type BulkKv, createReadKv } from "./directory/kv.ts";
import { createOpenSecret, type OpenSecret } from "./directory/secrets.ts";
import type { Isolate } from "./isolate.ts";
import { err, type Result } from "./lib/result.ts";
import { createManifests, type Manifests } from "./manifests/manifests.ts";
import { callThroughBreaker } from "./net/call-through-breaker.ts";
import type { Departure } from "./net/departure.ts";
import { type Fetcher, type FetchRequest, fetchWithin } from "./net/fetch.ts";
import { type CacheApi, createLocationCache } from "./net/location-cache.ts";
import { createTombstones, type Tombstones } from "./net/tombstones.ts";
import { isRead } from "./oci/scope.ts";
import { silenceMs } from "./pods/deadlines.ts";
import type { AdmittedPod } from "./pods/gate.ts";
import { gatewayPing, pingRequest } from "./pods/request.ts";
import { type FindBinding, trustedRequest } from "./pods/trust.ts";
import type { Misconfigured, PodFailure } from "./refusal.ts";
import type { Trace } from "./telemetry/log-line.ts";
import { createRememberedGrants, type RememberedGrants } from "./token-endpoint/remembered-grants.ts";

type Call<P extends Pod> = (pod: P, request: FetchRequest) => Promise<Result<Response, PodFailure | Misconfigured>>;

/** What one request works with: ports to KV, network and clock, the isolate's memory, and the request's costs so far. */
export type Services = {
  readonly config: Config;
  readonly directory: Directory;
  /** `callRegistry` and `callTokenService` take only a Pod that the gate (pods/gate.ts) has let through. */
  readonly callRegistry: Call<AdmittedPod>;
  readonly callTokenService: Call<AdmittedPod>;
  /** Reads a blob from a storage, and tries only once. The request has no Authorization, because a storage must not see a token. */
  readonly callStorage: (request: FetchRequest) => Promise<Result<Response, PodFailure>>;
  /** Sends an order to a Pod's gateway, unless the gateway or the Pod's registry counts as down. */
  readonly callGateway: Call<AdmittedPod>;
  readonly openSecret: OpenSecret;
  readonly tokens: TokenMemory;
  readonly rejected: RejectedTokens;
  readonly proofs: Proofs;
  readonly manifests: Manifests;
  readonly grants: RememberedGrants;
  /** What clients deleted while a group was being moved. One Pod of the move may still have it, but the edge must not serve it from there. */
  readonly movedTombstones: Tombstones;
  readonly client: Client;
  readonly parsedCidrs: ParsedCidrs;
  readonly signing: SigningMemory;
  readonly waitUntil: (promise: Promise<unknown>) => void;
  readonly now: Date;
  readonly trace: Trace;
};

export type RequestPorts = {
  readonly isolate: Isolate;
  readonly client: Client;
  readonly trace: Trace;
  readonly waitUntil: Services["waitUntil"];
  /**
   * Tells when the client has left, so that the edge ends the reads that it sent for this client. A write goes on, as long as the platform lets it.
   */
  readonly departure: Pick<Departure, "listen">;
};

/** Builds the services of one request. Throws if one of the deployment's variables is wrong. The error names the variable. */
export function buildServices(env: Env, ports: RequestPorts): Services {
  const { isolate, client, trace, waitUntil, departure } = ports;
  isolate.config ??= parseConfig(env);
  const { config, tokens, parsedPods, parsedRecords, parsedCidrs, signing } = isolate;
  const clock = () => new Date();
  const { kv, caches } = listeningPorts(env, departure);
  const readKv = createReadKv({ kv, cache: isolate.kv, now: clock, trace, waitUntil });
  const openSecret = createOpenSecret(config.sealingKeys, isolate.openedSecrets);
  const callService = createCallService(env, ports, { config, openSecret });
  const openCache = (name: string) => createLocationCache(caches, config.cacheHost, name);
  return {
    config,
    directory: createDirectory({ readKv, now: clock, plainHttp: config.plainHttp, parsedPods, parsedRecords }),
    callRegistry: callService("registry"),
    callTokenService: callService("token"),
    callStorage: (request) =>
      fetchWithin(
        { ...request, signal: departure.listen() },
        { fetcher: globalThis, waitUntil, stallMs: config.stallMs },
      ),
    callGateway: createCallGateway(ports, config),
    openSecret,
    tokens,
    rejected: noneRejected(),
    proofs: createProofs({ memory: isolate.proofs, cache: createProofCache(openCache("proofs")), clock, waitUntil }),
    manifests: createManifests({ memory: isolate.manifests, cache: openCache("manifests"), clock, waitUntil }),
    movedTombstones: createTombstones({ cache: openCache("moves"), clock, waitUntil }),
    grants: createRememberedGrants({ cache: openCache("grants"), edgeKeys: config.edgeKeys, clock }),
    client,
    parsedCidrs,
    signing,
    waitUntil,
    now: clock(),
    trace,
  };
}

const createCallService =
  (
    env: Env,
    { isolate, trace, waitUntil, departure }: RequestPorts,
    { config, openSecret }: Pick<Services, "config" | "openSecret">,
  ) =>
  (service: "registry" | "token"): Call<Pod> =>
  async (pod, request) => {
    const left = departure.listen();
    const name = `${pod.id} ${service}`;
    const send = async (sent: FetchRequest): ReturnType<Call<Pod>> => {
      const trusted = await trustedRequest(pod, sent, { openSecret, findBinding: findBinding(env) });
      if (!trusted.ok) return trusted;
      const { fetcher, request: own } = trusted.value;
      isolate.retries.earn(name);
      return fetchWithin(own, {
        fetcher,
        waitUntil,
        onSend: () => {
          trace.podRequests += 1;
        },
        mayRetry: () => isolate.retries.take(name),
        stallMs: config.stallMs,
        ping: (options) => send({ ...pingRequest(pod, service), ...options }),
      });
    };
    return callThroughBreaker(isRead(request.method) ? { ...request, signal: either(request.signal, left) } : request, {
      breaker: isolate.breaker,
      service: name,
      send,
      ping: () => pingRequest(pod, service),
      silenceMs: silenceMs(request),
      // A form for a token is a POST too, but a small one: if it fails, the cause is the service and not the content.
      doWritesCount: service === "token",
      waitUntil,
      clock: () => Date.now(),
    });
  };

const createCallGateway =
  ({ isolate: { breaker }, trace, waitUntil }: RequestPorts, { stallMs }: Config): Call<Pod> =>
  async (pod, request) => {
    const { id, gateway } = pod;
    if (!gateway) return err({ reason: "misconfigured", text: `Pod "${id}" has no gateway` });
    if (breaker.isOpen(`${id} registry`)) return err({ reason: "breaker-open", text: "its registry is down" });
    const onSend = () => {
      trace.podRequests += 1;
    };
    return callThroughBreaker(request, {
      breaker,
      service: `${id} gateway`,
      send: (sent) => fetchWithin(sent, { fetcher: globalThis, waitUntil, onSend, stallMs }),
      ping: () => gatewayPing(gateway),
      silenceMs: request.deadlineMs,
      // A gateway that is up answers every mount order, so a missing answer says that the gateway has failed. A failed write to a registry usually
      // says nothing about the registry, because the written content may be the cause.
      doWritesCount: true,
      waitUntil,
      clock: () => Date.now(),
    });
  };

/**
 * Returns KV and the location's caches. A call of either first makes the request listen for its client's departure, because a request must listen
 * before it waits (see `Departure`).
 */
const listeningPorts = (
  env: Env,
  departure: RequestPorts["departure"],
): { readonly kv: BulkKv; readonly caches: CacheApi } => ({
  kv: {
    get: (keys, options) => {
      departure.listen();
      return env.DIRECTORY.get(keys, options);
    },
  },
  caches: {
    open: (name) => {
      departure.listen();
      return caches.open(name);
    },
  },
});

const either = (one: AbortSignal | undefined, other: AbortSignal): AbortSignal =>
  one === undefined ? other : AbortSignal.any([one, other]);

const findBinding =
  (env: Env): FindBinding =>
  (name) => {
    const binding = env[name];
    const isFetcher = typeof binding === "object" && binding !== null && "fetch" in binding;
    return isFetcher ? (binding as Fetcher) : null;
  };
